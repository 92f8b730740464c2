# ONNX Runtime's C headers, from the archive of a release, checked by its sha256: cmake -D
# DESTINATION=FOLDER -P headers.cmake, or by CMakeLists.txt where ORT_HEADERS isn't given. Any
# release from 1.24 on would do; the provider asks for nothing newer.
set(RELEASE https://github.com/microsoft/onnxruntime/releases/download/v1.24.4)
set(ARCHIVE onnxruntime-linux-x64-1.24.4)
set(SHA256 3a211fbea252c1e66290658f1b735b772056149f28321e71c308942cdb54b747)

if(NOT EXISTS "${DESTINATION}/${ARCHIVE}/include/onnxruntime_ep_c_api.h")
  file(DOWNLOAD "${RELEASE}/${ARCHIVE}.tgz" "${DESTINATION}/headers.tgz"
    STATUS status INACTIVITY_TIMEOUT 30)
  list(GET status 0 failed)
  if(failed)
    list(GET status 1 reason)
    message(FATAL_ERROR "ONNX Runtime's headers can't be fetched (${reason}): give ORT_HEADERS=FOLDER")
  endif()
  file(SHA256 "${DESTINATION}/headers.tgz" sum)
  if(NOT sum STREQUAL SHA256)
    message(FATAL_ERROR "${RELEASE}/${ARCHIVE}.tgz has the sha256 ${sum} and not ${SHA256}")
  endif()
  file(ARCHIVE_EXTRACT INPUT "${DESTINATION}/headers.tgz" DESTINATION "${DESTINATION}"
    PATTERNS "*/include/*")
endif()
set(ORT_HEADERS "${DESTINATION}/${ARCHIVE}/include")
