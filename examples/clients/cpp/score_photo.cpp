// Scores photos with an exported detector: score_photo line3.onnx photo.png [photo.png ...]
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>

#include <onnxruntime_cxx_api.h>

#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

namespace {

struct Photo {
  std::unique_ptr<stbi_uc, void (*)(void*)> pixels;  // (height, width, 3), from the top left
  std::int64_t height;
  std::int64_t width;
};

// stb_image does not turn photos upright and drops transparency: neither occurs in the photos of a line's camera.
Photo read_photo(const std::string& path) {
  int width = 0, height = 0, channels = 0;
  stbi_uc* pixels = stbi_load(path.c_str(), &width, &height, &channels, 3);
  if (pixels == nullptr) throw std::runtime_error(path + ": " + stbi_failure_reason());
  return {{pixels, stbi_image_free}, height, width};
}

std::string threshold_of(const Ort::Session& session) {
  Ort::AllocatorWithDefaultOptions allocator;
  const auto value = session.GetModelMetadata().LookupCustomMetadataMapAllocated("skpadim.threshold", allocator);
  if (value == nullptr) throw std::runtime_error("the model was not exported by skpadim");
  return value.get();
}

void print_verdict(Ort::Session& session, const std::string& path, const std::string& threshold) {
  Photo photo = read_photo(path);
  const std::int64_t shape[] = {1, photo.height, photo.width, 3};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto photos = Ort::Value::CreateTensor<std::uint8_t>(
      memory, photo.pixels.get(), static_cast<std::size_t>(3 * photo.height * photo.width), shape, 4);
  const char* inputs[] = {"photos"};
  const char* outputs[] = {"score", "is_anomaly", "p_value", "mask"};
  const auto found = session.Run(Ort::RunOptions{nullptr}, inputs, &photos, 1, outputs, 4);
  const bool* mask = found[3].GetTensorData<bool>();
  const auto size = found[3].GetTensorTypeAndShapeInfo().GetElementCount();
  const double marked = std::accumulate(mask, mask + size, 0.0) / static_cast<double>(size);
  // A detector learned elsewhere has no good photos' scores to compare with, and JSON no NaN.
  const float p_value = *found[2].GetTensorData<float>();
  std::cout.precision(9);
  std::cout << "{\"photo\": " << std::quoted(path) << ", \"score\": " << *found[0].GetTensorData<float>()
            << ", \"is_anomaly\": " << (*found[1].GetTensorData<bool>() ? "true" : "false")
            << ", \"p_value\": ";
  if (std::isnan(p_value)) std::cout << "null";
  else std::cout << p_value;
  std::cout << ", \"threshold\": " << threshold << ", \"marked\": " << marked << "}\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: score_photo MODEL PHOTO...\n";
    return EXIT_FAILURE;
  }
  try {
    const Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "score_photo");
    Ort::Session session(env, argv[1], Ort::SessionOptions{});
    const std::string threshold = threshold_of(session);
    for (int index = 2; index < argc; ++index) print_verdict(session, argv[index], threshold);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
