//! The thread that starts, watches and ends the processes of an engine. It may wait for the system;
//! the loop never waits for it.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::memory::{CHILD, END as NO_MORE, Tensors};
use super::message::{About, ToChild, ToParent, one_line, receive, send};
use super::{END, NotStarted};

/// How long a killed process may take until it is left to be collected later.
const KILLED: Duration = Duration::from_millis(20);
/// How often a process that was killed and has not ended is looked at.
const COLLECT: Duration = Duration::from_millis(100);
/// The longest line of a process's standard error that is passed on, bytes.
const LONGEST_LINE: usize = 2000;
/// How often a process's standard error is read before orders and messages are looked at again: one
/// that writes without pause does not hold them up. All that a pipe holds by default (64 KiB) is read.
const MOST_READS: usize = 64;

/// What the loop asks the keeper for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Kill the process, and start another one.
    Replace,
    /// End the process and this thread. A process that is in a call is killed `at_once`.
    End { at_once: bool },
}

/// An engine that is ready.
pub(super) type Made = Result<(Arc<Tensors>, About), NotStarted>;

pub(super) struct Keeper {
    /// Makes the command that runs [`super::serve`].
    pub(super) command: Box<dyn Fn() -> Command + Send>,
    /// Passed to each process.
    pub(super) order: String,
    pub(super) file: OwnedFd,
    /// How long a process may take until its engine is ready.
    pub(super) limit: Duration,
    pub(super) orders: Receiver<Order>,
    /// Becomes readable with each order.
    pub(super) wake: Arc<OwnedFd>,
    pub(super) made: SyncSender<Made>,
    /// Of the first engine; later ones must have the same ports.
    pub(super) about: Option<About>,
    pub(super) current: Option<Process>,
    /// A killed process that has not ended: one in an uninterruptible call.
    pub(super) dying: Option<Child>,
}

/// A process of the engine.
pub(super) struct Process {
    child: Child,
    socket: OwnedFd,
    output: Output,
    /// `None` until the engine is ready.
    tensors: Option<Arc<Tensors>>,
    /// When the engine must be ready.
    until: Instant,
}

impl Keeper {
    /// Runs until the loop ends.
    pub(super) fn run(mut self) {
        self.start();
        loop {
            self.wait();
            // Several orders may have woken this thread once.
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Replace) => self.replace(),
                    Ok(Order::End { at_once }) => return self.end(at_once),
                    Err(TryRecvError::Disconnected) => return self.end(true),
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.read();
            self.check_start();
            self.collect();
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        let mut limit = self.dying.as_ref().map(|_| COLLECT);
        if let Some(process) = &self.current {
            fds.push(PollFd::new(&process.socket, PollFlags::IN));
            let errors = process.output.errors.iter();
            fds.extend(errors.map(|errors| PollFd::new(errors, PollFlags::IN)));
            if process.tensors.is_none() {
                let left = process.until.saturating_duration_since(Instant::now());
                limit = Some(limit.map_or(left, |limit| limit.min(left)));
            }
        }
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        // The result is ignored: everything is looked at next.
        let _ = poll(&mut fds, limit.as_ref());
        // It is non-blocking, so empty without an order.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    fn replace(&mut self) {
        if let Some(mut process) = self.current.take() {
            log::warn!("the process of the GPU's engine is ended by force, and started again");
            let _ = process.child.kill();
            process.output.pass_on();
            self.dying = ended_within(process.child, KILLED).err();
        } else {
            log::warn!("the process of the GPU's engine is started again");
        }
        self.start();
    }

    fn start(&mut self) {
        self.collect();
        // One that does not even end when it is killed is in a call of the driver; another one would
        // hang there too, and take memory.
        let started = match self.dying {
            Some(_) => Err(NotStarted::NotEnded),
            None => self.spawn().map_err(NotStarted::System),
        };
        match started {
            Ok(process) => self.current = Some(process),
            Err(error) => self.report(Err(error)),
        }
    }

    fn spawn(&mut self) -> io::Result<Process> {
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let mut command = (self.command)();
        let mut child = command
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        // The command holds the other end of the socket: closed here, so that the end of the process
        // closes it.
        drop(command);
        let errors = match self.order_engine(&socket, &mut child) {
            Ok(errors) => errors,
            Err(error) => {
                let _ = child.kill();
                self.dying = ended_within(child, KILLED).err();
                return Err(error);
            }
        };
        Ok(Process {
            child,
            socket,
            output: Output {
                errors,
                line: Vec::new(),
            },
            tensors: None,
            until: Instant::now() + self.limit,
        })
    }

    /// Orders the engine from a process that was started, and returns its standard error.
    fn order_engine(&self, socket: &OwnedFd, child: &mut Child) -> io::Result<Option<ChildStderr>> {
        let errors = child.stderr.take();
        if let Some(errors) = &errors {
            rustix::io::ioctl_fionbio(errors, true)?;
        }
        let order = self.order.clone();
        send(socket, &ToChild::Start { order }, Some(self.file.as_fd()))?;
        Ok(errors)
    }

    /// Reads what the process has sent.
    fn read(&mut self) {
        let Some(process) = &mut self.current else {
            return;
        };
        process.output.pass_on();
        if !is_readable(&process.socket) {
            return;
        }
        match receive(&process.socket) {
            Ok(Some((ToParent::Ready(about), _))) => self.ready(About {
                description: one_line(&about.description),
                ..about
            }),
            Ok(Some((ToParent::Failed { reason }, _))) => {
                self.end_of_process();
                self.report(Err(NotStarted::Failed(one_line(&reason))));
            }
            Ok(None) => self.ended(),
            Err(error) => {
                let was_ready = process.tensors.is_some();
                self.end_of_process();
                if !was_ready {
                    self.report(Err(NotStarted::System(error)));
                }
            }
        }
    }

    fn ready(&mut self, about: About) {
        let Some(process) = &mut self.current else {
            return;
        };
        let made = match &self.about {
            Some(first) if (&first.inputs, &first.outputs) != (&about.inputs, &about.outputs) => {
                Err(NotStarted::OtherPorts)
            }
            _ => Tensors::create(&about.inputs, &about.outputs)
                .and_then(|tensors| {
                    let memory = Some(tensors.memory().descriptor());
                    send(&process.socket, &ToChild::Memory, memory)?;
                    Ok(Arc::new(tensors))
                })
                .map_err(NotStarted::System),
        };
        match made {
            Ok(tensors) => {
                if self.about.is_some() {
                    log::warn!("the process of the GPU's engine is ready again");
                }
                process.tensors = Some(Arc::clone(&tensors));
                self.about.get_or_insert_with(|| about.clone());
                self.report(Ok((tensors, about)));
            }
            Err(error) => {
                self.end_of_process();
                self.report(Err(error));
            }
        }
    }

    /// The process has closed its socket, so it has ended or is about to.
    fn ended(&mut self) {
        let was_ready = self.current.as_ref().is_some_and(|p| p.tensors.is_some());
        let how = self.end_of_process();
        match was_ready {
            true => log::warn!("the process of the GPU's engine has ended: {how}"),
            false => self.report(Err(NotStarted::Ended(how))),
        }
    }

    /// Ends the current process, and returns how it ended.
    fn end_of_process(&mut self) -> String {
        let Some(mut process) = self.current.take() else {
            return "it did not run".to_owned();
        };
        process.mark_end();
        // One that has ended by itself only needs to be collected.
        if let Some(ended) = ended_by_itself(&mut process.child) {
            process.output.pass_on();
            return ended;
        }
        let _ = process.child.kill();
        process.output.pass_on();
        match ended_within(process.child, KILLED) {
            Ok(status) => status,
            Err(child) => {
                self.dying = Some(child);
                "it does not end".to_owned()
            }
        }
    }

    fn check_start(&mut self) {
        let late = self
            .current
            .as_ref()
            .is_some_and(|process| process.tensors.is_none() && Instant::now() >= process.until);
        if late {
            self.end_of_process();
            self.report(Err(NotStarted::Stuck(self.limit)));
        }
    }

    fn collect(&mut self) {
        if let Some(child) = &mut self.dying
            && !matches!(child.try_wait(), Ok(None))
        {
            self.dying = None;
        }
    }

    fn report(&self, made: Made) {
        // There is room: the loop takes each result before it orders the next.
        let _ = self.made.try_send(made);
    }

    /// Ends the process, in order if it is idle.
    fn end(mut self, at_once: bool) {
        let Some(process) = self.current.take() else {
            return;
        };
        let Process {
            mut child,
            socket,
            mut output,
            ..
        } = process;
        // The process ends when its socket is closed.
        drop(socket);
        let until = Instant::now() + END;
        while !at_once && Instant::now() < until {
            output.pass_on();
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        // Not waited for: the system collects it after this process.
        let _ = ended_within(child, KILLED);
    }
}

impl Process {
    /// Lets a loop that waits for an answer know that there will be none.
    fn mark_end(&self) {
        if let Some(tensors) = &self.tensors {
            tensors.memory().set(CHILD, NO_MORE);
        }
    }
}

/// What a process writes to its standard error: messages, and those of NVIDIA's libraries.
struct Output {
    errors: Option<ChildStderr>,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl Output {
    /// Passes complete lines on to this program's messages, which never block.
    fn pass_on(&mut self) {
        let Some(errors) = &mut self.errors else {
            return;
        };
        let mut bytes = [0; 1024];
        let mut closed = false;
        for _ in 0..MOST_READS {
            match errors.read(&mut bytes) {
                Ok(0) => {
                    closed = true;
                    break;
                }
                Ok(length) => {
                    for &byte in &bytes[..length] {
                        match byte {
                            b'\n' => print(&mut self.line),
                            _ if self.line.len() < LONGEST_LINE => self.line.push(byte),
                            _ => {}
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    closed = true;
                    break;
                }
            }
        }
        // After the last line, which may be incomplete, nothing follows.
        if closed {
            print(&mut self.line);
            self.errors = None;
        }
    }
}

fn print(line: &mut Vec<u8>) {
    if !line.is_empty() {
        pilotage_console::say(String::from_utf8_lossy(line).trim_end());
        line.clear();
    }
}

fn is_readable(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// How a process ended that has closed its socket, if it has not to be killed.
fn ended_by_itself(child: &mut Child) -> Option<String> {
    let until = Instant::now() + KILLED;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.to_string()),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            Ok(None) => return None,
            Err(error) => return Some(error.to_string()),
        }
    }
}

/// Waits for a killed process, and gives it back if it has not ended.
fn ended_within(mut child: Child, limit: Duration) -> Result<String, Child> {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.to_string()),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            Ok(None) => return Err(child),
            Err(error) => return Ok(error.to_string()),
        }
    }
}
