// An object behind one of NVIDIA's interfaces that has only some of the functions.
#ifndef STAND_IN_TABLE_H
#define STAND_IN_TABLE_H

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

[[noreturn]] void never(char const* what)
{
    std::fprintf(stderr, "stand-in of TensorRT: %s\n", what);
    std::abort();
}

void demand(bool holds, char const* what)
{
    if (!holds)
    {
        never(what);
    }
}

[[noreturn]] void unknown()
{
    never("a function that it does not have was called");
}

// An object behind one of the interfaces: a table of functions, of which those that are used
// here are known. Their places come from the header, by way of pointers to members.
template <typename Interface>
class Table
{
public:
    Table()
    {
        for (void*& function : mFunctions)
        {
            function = reinterpret_cast<void*>(&unknown);
        }
    }

    template <typename Result, typename... Arguments>
    Table& with(Result (Interface::*member)(Arguments...), Result (*function)(void*, Arguments...))
    {
        mFunctions[place(&member)] = reinterpret_cast<void*>(function);
        return *this;
    }

    template <typename Result, typename... Arguments>
    Table& with(Result (Interface::*member)(Arguments...) const, Result (*function)(void*, Arguments...))
    {
        mFunctions[place(&member)] = reinterpret_cast<void*>(function);
        return *this;
    }

    Interface* object()
    {
        return reinterpret_cast<Interface*>(this);
    }

private:
    // Of the C++ ABI of Linux: a virtual function's pointer is its offset in the table (plus one
    // but on ARM, which marks it in the second word).
    static size_t place(void const* member)
    {
        size_t offset;
        std::memcpy(&offset, member, sizeof offset);
#if defined(__aarch64__)
        return offset / sizeof(void*);
#else
        return (offset - 1) / sizeof(void*);
#endif
    }

    void** mTable = mFunctions;
    void* mFunctions[256];
};

} // namespace

#endif
