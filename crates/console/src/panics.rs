//! Reports panics through the ring. The default hook writes to standard error itself, and could
//! block the thread that drives before that thread unwinds to failsafe.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};
use std::thread;

pub(crate) fn report() {
    set_hook(Box::new(hook));
}

fn hook(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let message = panic.payload_as_str().unwrap_or("a value of another type");
    let place = panic.location().map(ToString::to_string);
    let place = place.unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => crate::say_always(format_args!(
            "thread '{name}' panicked at {place}:\n{message}\n{backtrace}"
        )),
        _ => crate::say_always(format_args!(
            "thread '{name}' panicked at {place}:\n{message}"
        )),
    }
}
