// An object with one of NVIDIA's interfaces that implements only some of the functions.
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

// An object with one of the interfaces: a virtual table with the functions that are used here. The
// index of each function comes from the header, through its pointer to member.
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

    // The destructor, for an interface that declares it after `member` and whose objects are deleted
    // through it. The table has two: the second also frees the memory.
    template <typename Result, typename... Arguments>
    Table& with_destructor_after(Result (Interface::*member)(Arguments...), void (*function)(void*))
    {
        mFunctions[place(&member) + 2] = reinterpret_cast<void*>(function);
        return *this;
    }

    Interface* object()
    {
        return reinterpret_cast<Interface*>(this);
    }

private:
    // By the C++ ABI of Linux, the pointer to a virtual member function is its offset in the table
    // plus one. On ARM it is the offset, and the second word marks it as virtual.
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
