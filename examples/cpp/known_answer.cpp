// Whether this machine computes right: the known answer of a file from pixels to alpha
// (docs/reference/known-answer.md). Its exit code is 1 if not, and 2 if the file carries none.
//
//   g++ -std=c++17 -I/usr/include/onnxruntime known_answer.cpp -lonnxruntime -o known_answer
//   ./known_answer model_end_to_end.onnx

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

// What stands behind a key, without brackets and quotes: the entry is plain JSON, without escapes.
std::string value_of(const std::string& json, const std::string& key) {
    std::size_t first = json.find("\"" + key + "\":");
    if (first == std::string::npos) throw std::runtime_error("the entry has no " + key);
    first = json.find_first_not_of(" [\"", first + key.size() + 3);
    return json.substr(first, json.find_first_of("]}\"", first) - first);
}

std::array<double, 2> pair_of(const std::string& text) {
    std::size_t comma = text.find(',');
    return {std::stod(text), std::stod(text.substr(comma + 1))};
}

std::vector<uint8_t> from_base64(const std::string& text) {
    const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::vector<uint8_t> bytes;
    uint32_t bits = 0, count = 0;
    for (char letter : text.substr(0, text.find('='))) {
        bits = bits << 6 | uint32_t(letters.find(letter));
        if ((count += 6) >= 8) bytes.push_back(uint8_t(bits >> (count -= 8)));
    }
    return bytes;
}

std::vector<uint8_t> draw(int64_t height, int64_t width) {
    std::vector<uint8_t> pixels;
    for (int64_t y = 0; y < height; y++) for (int64_t x = 0; x < width; x++) {
        const int64_t down = (2 * y - height + 1) * width, right = (2 * x - width + 1) * height;
        const bool inside = 2 * (down * down + right * right) < height * width * height * width;
        for (int64_t c = 0; c < 3; c++) {
            const int64_t texture = (7 * x + 13 * y + 29 * c + x * y * (c + 1)) % 41;
            pixels.push_back(uint8_t((inside ? 190 - 30 * c : 40 + 15 * c) + texture));
        }
    }
    return pixels;
}

int main(int count, char** arguments) try {
    if (count != 2) throw std::runtime_error("usage: known_answer MODEL_END_TO_END.onnx");
    Ort::Env env;
    Ort::Session session(env, arguments[1], Ort::SessionOptions{});
    Ort::AllocatorWithDefaultOptions allocator;
    auto entry = session.GetModelMetadata().LookupCustomMetadataMapAllocated(
        "birefnet.known_answer", allocator);
    if (!entry) {
        std::cerr << "known_answer: the file carries none\n";
        return 2;
    }
    const std::string known = entry.get();
    const auto picture = pair_of(value_of(known, "pictures"));
    const auto allowed = pair_of(value_of(known.substr(known.find("\"tolerance\"")), "alpha"));
    const int64_t height = int64_t(picture[0]), width = int64_t(picture[1]);
    const int64_t step = std::stol(value_of(known, "step"));
    const auto kept = from_base64(value_of(known, "alpha"));

    std::vector<uint8_t> pixels = draw(height, width);
    std::array<int64_t, 4> shape{1, height, width, 3};
    auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    auto image = Ort::Value::CreateTensor<uint8_t>(
        memory, pixels.data(), pixels.size(), shape.data(), shape.size());
    const char* inputs[]{"image"};
    const char* outputs[]{"alpha"};
    auto results = session.Run(Ort::RunOptions{}, inputs, &image, 1, outputs, 1);
    if (int64_t(results[0].GetTensorTypeAndShapeInfo().GetElementCount()) != height * width)
        throw std::runtime_error("the answer has another shape than the picture");
    const uint8_t* alpha = results[0].GetTensorData<uint8_t>();

    double largest = 0, sum = 0;
    std::size_t at = 0;
    for (int64_t y = 0; y < height; y += step) for (int64_t x = 0; x < width; x += step, at += 2) {
        const double right = (kept.at(at) + 256 * kept.at(at + 1)) / 65535.0;
        const double off = std::abs(alpha[y * width + x] / 255.0 - right);
        largest = std::max(largest, off);
        sum += off;
    }
    const double mean = sum / double(at / 2);
    std::cout << (largest <= allowed[0] && mean <= allowed[1] ? "right" : "wrong") << ": off by "
              << largest << " at most, " << allowed[0] << " is allowed\n";
    return largest <= allowed[0] && mean <= allowed[1] ? 0 : 1;
} catch (const std::exception& error) {
    std::cerr << "known_answer: " << error.what() << "\n";
    return 1;
}
