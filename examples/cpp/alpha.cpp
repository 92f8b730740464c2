// The alpha of a picture by a file from pixels to alpha.
//
//   alpha MODEL_END_TO_END.onnx PICTURE.ppm ALPHA.pgm
//
// Binary PPM in (RGB, 8 bits), binary PGM out, so that no image library is needed:
//
//   g++ -std=c++17 -I/usr/include/onnxruntime alpha.cpp -lonnxruntime -o alpha
//   ffmpeg -i photo.jpg photo.ppm && ./alpha model_end_to_end.onnx photo.ppm alpha.pgm

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <vector>

struct Picture {
    int64_t width = 0, height = 0;
    std::vector<uint8_t> rgb;
};

Picture read_ppm(const char* path) {
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    int largest = 0;
    Picture picture;
    file >> magic >> picture.width >> picture.height >> largest;
    file.get();  // the one blank behind the header
    if (!file || magic != "P6" || largest != 255 || picture.width < 1 || picture.height < 1)
        throw std::runtime_error(std::string(path) + ": is no binary PPM of 8 bits");
    picture.rgb.resize(picture.width * picture.height * 3);
    file.read(reinterpret_cast<char*>(picture.rgb.data()), picture.rgb.size());
    if (!file) throw std::runtime_error(std::string(path) + ": ends early");
    return picture;
}

int main(int count, char** arguments) try {
    if (count != 4) throw std::runtime_error("usage: alpha MODEL.onnx PICTURE.ppm ALPHA.pgm");
    Picture picture = read_ppm(arguments[2]);

    Ort::Env env;
    Ort::Session session(env, arguments[1], Ort::SessionOptions{});
    auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::array<int64_t, 4> shape{1, picture.height, picture.width, 3};
    auto image = Ort::Value::CreateTensor<uint8_t>(
        memory, picture.rgb.data(), picture.rgb.size(), shape.data(), shape.size());
    const char* inputs[]{"image"};
    const char* outputs[]{"alpha"};
    auto results = session.Run(Ort::RunOptions{}, inputs, &image, 1, outputs, 1);

    std::ofstream file(arguments[3], std::ios::binary);
    file << "P5\n" << picture.width << " " << picture.height << "\n255\n";
    file.write(reinterpret_cast<const char*>(results[0].GetTensorData<uint8_t>()),
               picture.width * picture.height);
    if (!file.flush()) throw std::runtime_error(std::string(arguments[3]) + ": can't be written");
} catch (const std::exception& error) {
    std::cerr << "alpha: " << error.what() << "\n";
    return 1;
}
