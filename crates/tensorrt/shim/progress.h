// The progress of a build, passed on to the caller.
#ifndef TENSORRT_RS_PROGRESS_H
#define TENSORRT_RS_PROGRESS_H

#include "product.h"

#if SHIM_PROGRESS
#include <NvInfer.h>

#include <atomic>

namespace {

class Progress final : public nvinfer1::IProgressMonitor
{
public:
    Progress(tensorrt_rs_progress progress, void* user)
        : mProgress(progress)
        , mUser(user)
    {
    }

    void phaseStart(char const* phase, char const* parent, int32_t steps) noexcept override
    {
        report(phase, parent, 0, steps);
    }

    bool stepComplete(char const* phase, int32_t step) noexcept override
    {
        // The number of a phase's steps is reported at its start; the receiver remembers it.
        report(phase, nullptr, step + 1, -1);
        return !mCancelled;
    }

    void phaseFinish(char const* phase) noexcept override
    {
        report(phase, nullptr, 0, 0);
    }

    bool cancelled() const noexcept
    {
        return mCancelled;
    }

private:
    void report(char const* phase, char const* parent, int32_t step, int32_t steps) noexcept
    {
        char const* const none = "";
        if (mProgress(mUser, phase == nullptr ? none : phase, parent == nullptr ? none : parent, step, steps) == 0)
        {
            mCancelled = true;
        }
    }

    tensorrt_rs_progress mProgress;
    void* mUser;
    std::atomic<bool> mCancelled{false};
};

} // namespace
#endif

#endif
