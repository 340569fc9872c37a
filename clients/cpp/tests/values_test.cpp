#include <gtest/gtest.h>
#include <webinfer/webinfer.h>

#include <array>

namespace {

using namespace webinfer;

TEST(Tensors, KeepTheirElements) {
  const std::vector<float> elements{1.5F, -2, 0, 3e30F};
  const auto message = tensor(elements, {2, 2});
  EXPECT_EQ(message.data_type(), v1::DATA_TYPE_FLOAT32);
  EXPECT_EQ(message.shape_size(), 2);
  EXPECT_EQ(copy<float>(message), elements);
  const auto view = values<float>(message);
  EXPECT_EQ(view.size(), 4U);
  EXPECT_EQ(static_cast<const void*>(view.data()), message.data().data()) << "a view is no copy";
}

template <class T>
v1::DataType type_of() {
  return tensor(std::array<T, 2>{}, {2}).data_type();
}

TEST(Tensors, HaveTheTypesOfTheirElements) {
  EXPECT_EQ(type_of<float>(), v1::DATA_TYPE_FLOAT32);
  EXPECT_EQ(type_of<float16>(), v1::DATA_TYPE_FLOAT16);
  EXPECT_EQ(type_of<std::int64_t>(), v1::DATA_TYPE_INT64);
  EXPECT_EQ(type_of<std::int32_t>(), v1::DATA_TYPE_INT32);
  EXPECT_EQ(type_of<std::int8_t>(), v1::DATA_TYPE_INT8);
  EXPECT_EQ(type_of<std::uint8_t>(), v1::DATA_TYPE_UINT8);
  EXPECT_EQ(type_of<bool>(), v1::DATA_TYPE_BOOL);
}

TEST(Tensors, OfBytesThatAreThereAreNotCopied) {
  std::string bytes(1 << 20, 'x');
  const auto* at = bytes.data();
  const auto sent =
      request("model", input::tensor("x", tensor(v1::DATA_TYPE_UINT8, std::move(bytes), {1 << 20})), input::text("y"));
  EXPECT_EQ(sent.items_size(), 2);
  EXPECT_EQ(sent.items(0).tensors().tensors().at("x").data().data(), at);
}

TEST(Tensors, RefuseWhatDoesNotFit) {
  EXPECT_THROW(tensor(std::vector<float>{1, 2, 3}, {2}), InvalidInput);
  EXPECT_THROW(tensor(std::vector<float>{1}, {-1}), InvalidInput);
  EXPECT_THROW(tensor(std::vector<float>{}, {INT64_MAX, INT64_MAX}), InvalidInput);
  EXPECT_THROW(tensor(static_cast<v1::DataType>(99), "", {0}), InvalidInput);
  EXPECT_THROW(values<std::int32_t>(tensor(std::vector<float>{1}, {1})), InvalidInput);
  EXPECT_THROW(copy<std::int32_t>(tensor(std::vector<float>{1}, {1})), InvalidInput);
}

TEST(Tensors, MayBeEmpty) {
  const auto message = tensor(std::vector<float>{}, {0, 3});
  EXPECT_TRUE(values<float>(message).empty());
  EXPECT_TRUE(copy<float>(message).empty());
}

TEST(Inputs, AreOfTheirKinds) {
  EXPECT_EQ(input::text("x").input_case(), v1::Item::kText);
  EXPECT_EQ(input::image("png").image().source_case(), v1::Image::kEncoded);
  EXPECT_EQ(input::audio("wav").audio().source_case(), v1::Audio::kEncoded);
  const std::vector<float> samples{0, 1};
  EXPECT_EQ(input::audio(samples, 16'000).audio().samples().data().size(), 8U);
  const std::vector<std::uint8_t> pixels(12);
  EXPECT_EQ(input::image(pixels, 2, 2, 3).image().pixels().width(), 2U);
  EXPECT_EQ(input::question("who", "him").question().context(), "him");
  EXPECT_EQ(input::question_of_document("who", "png").question().document().encoded(), "png");
  EXPECT_EQ(input::query("q", {"a", "b"}).query().documents_size(), 2);
  EXPECT_EQ(input::chat({{"user", "hi"}}).chat().messages(0).parts(0).text(), "hi");
}

TEST(Inputs, RefusePicturesOfOtherSizes) {
  const std::vector<std::uint8_t> pixels(12);
  EXPECT_THROW(input::image(pixels, 2, 2, 2), InvalidInput);
  EXPECT_THROW(input::image(pixels, 2, 2, 0), InvalidInput);
  EXPECT_THROW(input::image(pixels, 4, 4, 3), InvalidInput);
  EXPECT_THROW(input::image(pixels, 0, 0, 3), InvalidInput);
  EXPECT_THROW(input::image(pixels, UINT32_MAX, UINT32_MAX, 4), InvalidInput);
}

TEST(Inputs, OfFilesThatCannotBeReadAreRefused) {
  EXPECT_THROW(input::file("/nowhere/picture.png"), InvalidInput);
  EXPECT_THROW(input::file("/"), InvalidInput);
}

TEST(Outputs, OfAnotherKindAreRefused) {
  v1::ItemResult result;
  EXPECT_THROW(output::embedding(result), InvalidInput);
  result.mutable_embedding()->add_values(1);
  EXPECT_EQ(output::embedding(result)[0], 1);
  EXPECT_THROW(output::tensor(result, "x"), InvalidInput);
  EXPECT_THROW(output::text(result), InvalidInput);
  result.mutable_tensors();
  EXPECT_THROW(output::tensor(result, "x"), InvalidInput);
  result.mutable_transcript()->set_text("hello");
  EXPECT_EQ(output::text(result), "hello");
}

}  // namespace
