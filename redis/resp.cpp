#include "redis/resp.h"

#include <hiredis/hiredis.h>

#include <utility>

namespace rcb::redis {
namespace {

constexpr std::size_t kMaxQuoted = 200;

}  // namespace

/// Builds Reply values right inside hiredis's reader, through its object functions. hiredis's own redisReply would do,
/// but its depth is not bounded (1.2.0 read.c grows its stack, freeReplyObject() recurses), so that a megabyte of "*1"
/// lines would overflow our stack.
class ReplyDecoder::Impl {
 public:
  Impl() : reader_(redisReaderCreateWithFunctions(&kFunctions), redisReaderFree) {
    if (reader_ == nullptr) throw std::bad_alloc();
    reader_->maxelements = kMaxElements;
    reader_->privdata = this;
  }

  void Feed(std::string_view bytes) {
    bytes_fed_ += bytes.size();
    redisReaderFeed(reader_.get(), bytes.data(), bytes.size());  // A failure stays in the reader: Next() tells it.
  }

  Result<std::optional<DecodedReply>> Next() {
    void* complete = nullptr;
    const int status = redisReaderGetReply(reader_.get(), &complete);
    const std::size_t bytes_taken = bytes_fed_ - (reader_->len - reader_->pos);
    const std::size_t reply_bytes = (complete == nullptr ? bytes_fed_ : bytes_taken) - bytes_done_;
    if (out_of_bounds_ || reply_bytes > kMaxReplyBytes) {
      return Fail(ErrorKind::kProtocol, "sent a reply that is larger or deeper than any that was asked for");
    }
    if (status != REDIS_OK) return Fail(ErrorKind::kProtocol, "does not speak the Redis protocol");
    if (complete == nullptr) return std::optional<DecodedReply>();
    bytes_done_ = bytes_taken;
    elements_ = 0;
    return std::optional<DecodedReply>(std::exchange(root_, DecodedReply()));
  }

 private:
  // What hiredis calls. Nothing may throw through its C frames: running out of memory ends the process.
  static Reply* Slot(const redisReadTask* task) noexcept {
    if (task->parent == nullptr) return &static_cast<Impl*>(task->privdata)->root_.reply;
    auto* parent = static_cast<Reply*>(task->parent->obj);
    return &parent->elements[static_cast<std::size_t>(task->idx)];
  }

  static void* CreateString(const redisReadTask* task, char* text, std::size_t length) noexcept {
    Reply* reply = Slot(task);
    reply->type = Reply::Type::kString;
    reply->text.assign(text, length);
    if (task->parent == nullptr) {
      static_cast<Impl*>(task->privdata)->root_.is_error = task->type == REDIS_REPLY_ERROR;
    }
    return reply;
  }

  static void* CreateArray(const redisReadTask* task, std::size_t elements) noexcept {
    auto* self = static_cast<Impl*>(task->privdata);
    std::size_t depth = 1;
    for (const redisReadTask* parent = task->parent; parent != nullptr; parent = parent->parent) ++depth;
    if (depth > kMaxDepth || elements > kMaxElements - self->elements_) {
      self->out_of_bounds_ = true;
      return nullptr;  // The reader takes it for a lack of memory and stops.
    }
    self->elements_ += elements;
    Reply* reply = Slot(task);
    reply->type = Reply::Type::kArray;
    reply->elements.resize(elements);
    return reply;
  }

  static void* CreateInteger(const redisReadTask* task, long long value) noexcept {
    Reply* reply = Slot(task);
    reply->type = Reply::Type::kInteger;
    reply->integer = value;
    return reply;
  }

  static void* CreateNil(const redisReadTask* task) noexcept { return Slot(task); }

  // RESP3, which is never negotiated; a peer may send it all the same.
  static void* CreateDouble(const redisReadTask* task, double /*value*/, char* text, std::size_t length) noexcept {
    return CreateString(task, text, length);
  }
  static void* CreateBool(const redisReadTask* task, int value) noexcept { return CreateInteger(task, value); }

  static void FreeObject(void* /*reply*/) noexcept {}  // root_ owns everything.

  static redisReplyObjectFunctions kFunctions;

  std::unique_ptr<redisReader, decltype(&redisReaderFree)> reader_;
  DecodedReply root_;  ///< The reply being read.
  std::size_t elements_ = 0;
  bool out_of_bounds_ = false;
  std::size_t bytes_fed_ = 0;   ///< Since the start.
  std::size_t bytes_done_ = 0;  ///< Of them, those of complete replies.
};

redisReplyObjectFunctions ReplyDecoder::Impl::kFunctions = {
    &Impl::CreateString, &Impl::CreateArray, &Impl::CreateInteger, &Impl::CreateDouble,
    &Impl::CreateNil,    &Impl::CreateBool,  &Impl::FreeObject};

ReplyDecoder::ReplyDecoder() : impl_(std::make_unique<Impl>()) {}
ReplyDecoder::~ReplyDecoder() = default;
void ReplyDecoder::Feed(std::string_view bytes) { impl_->Feed(bytes); }
Result<std::optional<DecodedReply>> ReplyDecoder::Next() { return impl_->Next(); }

ErrorKind KindOfErrorReply(std::string_view text) {
  const std::string_view code = text.substr(0, text.find(' '));
  if (code == "NOAUTH" || code == "WRONGPASS") return ErrorKind::kAuthentication;
  if (text.starts_with("ERR invalid password")) return ErrorKind::kAuthentication;  // Before 6.0.
  if (code == "NOPERM") return ErrorKind::kPermission;
  if (code == "DENIED") return ErrorKind::kPermission;  // Protected mode: only local clients are served.
  if (code == "BUSY") return ErrorKind::kBusy;
  if (code == "LOADING") return ErrorKind::kLoading;
  return ErrorKind::kReply;
}

std::string Quote(std::string_view text) {
  std::string quoted;
  for (const char c : text.substr(0, kMaxQuoted)) quoted += c >= ' ' && c <= '~' ? c : '?';
  return quoted;
}

std::string EncodeCommand(const std::vector<std::string>& arguments) {
  std::vector<const char*> texts;
  std::vector<std::size_t> lengths;
  for (const std::string& argument : arguments) {
    texts.push_back(argument.data());
    lengths.push_back(argument.size());
  }
  char* formatted = nullptr;
  const long long length =
      redisFormatCommandArgv(&formatted, static_cast<int>(texts.size()), texts.data(), lengths.data());
  if (length < 0) throw std::bad_alloc();
  std::string command(formatted, static_cast<std::size_t>(length));
  redisFreeCommand(formatted);
  return command;
}

}  // namespace rcb::redis
