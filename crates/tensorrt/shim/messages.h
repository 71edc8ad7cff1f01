// TensorRT's log messages, and the error of a failed call.
#ifndef TENSORRT_RS_MESSAGES_H
#define TENSORRT_RS_MESSAGES_H

#include "shim.h"

#include <NvInfer.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

namespace {

void copy(char* to, size_t size, char const* from)
{
    std::snprintf(to, size, "%s", from == nullptr ? "" : from);
}

// One call into TensorRT. It keeps the first error message of the call, because TensorRT returns
// null and reports the reason to its logger.
class Call final
{
public:
    explicit Call(tensorrt_rs_library const* library = nullptr);
    ~Call();
    Call(Call const&) = delete;
    Call& operator=(Call const&) = delete;

    void keep(char const* message) noexcept
    {
        Held const held(mBusy);
        if (mFirst[0] == '\0')
        {
            copy(mFirst, sizeof mFirst, message);
        }
    }

    void forget() noexcept
    {
        Held const held(mBusy);
        mFirst[0] = '\0';
    }

    int32_t fail(tensorrt_rs_error* error, char const* otherwise, int32_t status = TENSORRT_RS_FAILED) noexcept
    {
        Held const held(mBusy);
        copy(error->message, sizeof error->message, mFirst[0] == '\0' ? otherwise : mFirst);
        return status;
    }

    void* user() const noexcept
    {
        return mUser;
    }

private:
    struct Held
    {
        explicit Held(std::atomic_flag& busy)
            : flag(busy)
        {
            while (flag.test_and_set(std::memory_order_acquire))
            {
            }
        }
        ~Held()
        {
            flag.clear(std::memory_order_release);
        }
        std::atomic_flag& flag;
    };

    Call* mBefore;
    void* mUser;
    std::atomic_flag mBusy = ATOMIC_FLAG_INIT;
    char mFirst[sizeof tensorrt_rs_error::message];
};

// The current call of this thread.
thread_local Call* tCall = nullptr;
// The build in progress. TensorRT's own threads log messages of it.
std::atomic<Call*> gBuild{nullptr};

Call::Call(tensorrt_rs_library const* library)
    : mBefore(tCall)
    , mUser(library == nullptr ? nullptr : library->user)
{
    mFirst[0] = '\0';
    tCall = this;
}

Call::~Call()
{
    tCall = mBefore;
}

// TensorRT uses the first logger that it receives as long as any of its objects lives, and ignores
// later loggers. Therefore there is one logger, and it is never destroyed.
class Logger final : public nvinfer1::ILogger
{
public:
    explicit Logger(tensorrt_rs_log log)
        : mLog(log)
    {
    }

    void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override
    {
        auto const level = static_cast<int32_t>(severity);
        Call* const call = tCall != nullptr ? tCall : gBuild.load(std::memory_order_acquire);
        if (level <= 1 && call != nullptr)
        {
            call->keep(message);
        }
        if (mLog != nullptr)
        {
            mLog(call == nullptr ? nullptr : call->user(), level, message == nullptr ? "" : message);
        }
    }

private:
    tensorrt_rs_log mLog;
};

// Null if there is not enough memory.
Logger* logger(tensorrt_rs_library const& library)
{
    static Logger* const it = new (std::nothrow) Logger(library.log);
    return it;
}

void clear(tensorrt_rs_error* error)
{
    std::memset(error, 0, sizeof *error);
    error->node = -1;
}

// Reports a failure that TensorRT did not log.
int32_t refuse(tensorrt_rs_error* error, int32_t status, char const* message)
{
    copy(error->message, sizeof error->message, message);
    return status;
}

// Attributes the messages of TensorRT's own threads to `call`, as long as the object lives. Builds
// exclude one another.
struct Building
{
    explicit Building(Call& call)
        : lock(mutex())
    {
        gBuild.store(&call, std::memory_order_release);
    }
    ~Building()
    {
        gBuild.store(nullptr, std::memory_order_release);
    }
    Building(Building const&) = delete;
    Building& operator=(Building const&) = delete;

    static std::mutex& mutex()
    {
        static std::mutex it;
        return it;
    }
    std::lock_guard<std::mutex> lock;
};

} // namespace

#endif
