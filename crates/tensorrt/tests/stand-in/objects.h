// What all objects of the stand-in share: the logger, the faults, and the count of live objects.
#ifndef STAND_IN_OBJECTS_H
#define STAND_IN_OBJECTS_H

#include <NvInfer.h>

#include <set>
#include <string>

#include "faults.h"
#include "table.h"
#include "versions.h"

namespace {

using namespace nvinfer1;

// The first logger serves all later objects, as in TensorRT. It must never be destroyed.
ILogger* gLogger = nullptr;

void use_logger(void* logger)
{
    demand(logger != nullptr, "there is no logger");
    demand(gLogger == nullptr || gLogger == logger, "the logger is another than that of before");
    gLogger = static_cast<ILogger*>(logger);
}

void say(ILogger::Severity severity, std::string const& message)
{
    gLogger->log(severity, message.c_str());
}

bool fails(char const* name)
{
    if (!stand_in_fails(name))
    {
        return false;
    }
    say(ILogger::Severity::kERROR, std::string(name) + " was set to fail");
    return true;
}

// The live runtimes and engines.
std::set<void const*> gAlive;
int gBuilders = 0, gOfBuilder = 0, gRuntimes = 0, gEngines = 0, gContexts = 0;

struct Left
{
    ~Left()
    {
        stand_in_left("builders", gBuilders);
        stand_in_left("runtimes", gRuntimes);
        stand_in_left("engines", gEngines);
        stand_in_left("execution contexts", gContexts);
    }
} const gLeft;

// A part of the builder, which must be destroyed before the builder.
struct PartOfBuilder
{
    PartOfBuilder()
    {
        ++gOfBuilder;
    }
    ~PartOfBuilder()
    {
        demand(gBuilders == 1, "the builder went before what it had made");
        --gOfBuilder;
    }
};

} // namespace

#endif
