//! `pilotage-watch`: the page that shows what a pilot does, and stops the car.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use lexopt::prelude::*;
use pilotage_watch::{
    Access, Actions, CarBrake, Live, PilotAt, Recordings, Sampler, Server, ServerError, Token,
    Wheel, terminal,
};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

const HELP: &str = "\
Shows in a browser what a pilot does, and stops the car.

Usage: pilotage-watch --tap SOCKET [--car FILE] [--listen ADDRESS:PORT] [--host NAME]...
                      [--pictures N]
       pilotage-watch --terminal --tap SOCKET [--car FILE]
       pilotage-watch --recordings FOLDER [--listen ADDRESS:PORT] [--host NAME]...
       pilotage-watch --pilot-on-stdin [--hand-on-stdout] [...]

  --tap SOCKET           the pilot's socket for observers (`pilotage drive --tap SOCKET`)
  --terminal             show the numbers in this terminal, and serve no page
  --pilot-on-stdin       standard input is the connection to the pilot that started this program,
                         which ends when the pilot ends
  --hand-on-stdout       standard output is a pipe to the pilot, which is driven with this page;
                         messages go to standard error
  --commands SOCKET      the pilot's socket for high-level commands, which the page then sets
  --recordings FOLDER    show the recordings in this folder on a page of their own, and mark ranges
                         of records there that are left out; nothing is deleted. Without a pilot
                         only this page is served
  --car FILE             the car to stop and disarm [default: /etc/pilotage/car.toml]; while a
                         simulated car is driven, the stop goes to its pilot
  --listen ADDRESS:PORT  where to serve the page [default: 127.0.0.1:8642, or another port if
                         that is in use]. Everyone who can read the traffic to another address
                         than 127.0.0.1 can read the token: docs/security.md
  --host NAME            a name, besides addresses, under which the page may be opened
  --pictures N           pictures a second, at most 30 [default: 10]
  --help, --version

It prints the address of the page with a token, which is new at each start.
";

const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8642);
const PICTURES: u32 = 10;

struct Options {
    tap: Option<PathBuf>,
    terminal: bool,
    pilot_on_stdin: bool,
    hand_on_stdout: bool,
    commands: Option<PathBuf>,
    recordings: Option<PathBuf>,
    car: Option<PathBuf>,
    listen: Option<SocketAddr>,
    hosts: Vec<String>,
    pictures: u32,
}

/// Parses the command line. Returns `None` after `--help` and `--version`.
fn options() -> anyhow::Result<Option<Options>> {
    let mut options = Options {
        tap: None,
        terminal: false,
        pilot_on_stdin: false,
        hand_on_stdout: false,
        commands: None,
        recordings: None,
        car: None,
        listen: None,
        hosts: Vec::new(),
        pictures: PICTURES,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("tap") => options.tap = Some(arguments.value()?.into()),
            Long("terminal") => options.terminal = true,
            Long("pilot-on-stdin") => options.pilot_on_stdin = true,
            Long("hand-on-stdout") => options.hand_on_stdout = true,
            Long("commands") => options.commands = Some(arguments.value()?.into()),
            Long("recordings") => options.recordings = Some(arguments.value()?.into()),
            Long("car") => options.car = Some(arguments.value()?.into()),
            Long("listen") => options.listen = Some(arguments.value()?.parse()?),
            Long("host") => options.hosts.push(arguments.value()?.string()?),
            Long("pictures") => options.pictures = arguments.value()?.parse()?,
            Short('h') | Long("help") => {
                pilotage_console::out(HELP);
                return Ok(None);
            }
            Short('V') | Long("version") => {
                let version = env!("CARGO_PKG_VERSION");
                pilotage_console::print(format_args!("pilotage-watch {version}"));
                return Ok(None);
            }
            other => bail!(
                "{}; `pilotage-watch --help` lists the options",
                other.unexpected()
            ),
        }
    }
    Ok(Some(options))
}

fn run() -> anyhow::Result<ExitCode> {
    let Some(options) = options()? else {
        return Ok(ExitCode::SUCCESS);
    };
    if options.terminal {
        let tap = options.tap.context("--terminal needs --tap SOCKET")?;
        terminal(tap, options.car).context("this terminal cannot show the drive")?;
        return Ok(ExitCode::SUCCESS);
    }
    let pilot = match (&options.tap, options.pilot_on_stdin) {
        (Some(path), false) => Some(PilotAt::Path(path.clone())),
        (None, true) => {
            let connection = std::io::stdin().as_fd().try_clone_to_owned();
            Some(PilotAt::Connection(
                connection.context("standard input is not a connection to a pilot")?,
            ))
        }
        (None, false) if options.recordings.is_some() => None,
        _ => bail!("give one of --tap SOCKET, --pilot-on-stdin and --recordings FOLDER"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("the page cannot be served")?;
    runtime.block_on(serve(options, pilot))?;
    // A stop that is under way must not be cut off; each one takes a bounded time.
    drop(runtime);
    Ok(ExitCode::SUCCESS)
}

async fn serve(options: Options, pilot: Option<PilotAt>) -> anyhow::Result<()> {
    let token = Token::random().context("the system has no random numbers for a token")?;
    let access = |address| Access::new(token.clone(), address, options.hosts.clone());
    let server = match options.listen {
        Some(address) => Server::listen(address, access).await?,
        None => match Server::listen(DEFAULT, access).await {
            Err(ServerError::Listen { .. }) => {
                Server::listen(SocketAddr::new(DEFAULT.ip(), 0), access).await?
            }
            listening => listening?,
        },
    };
    let recordings = match options.recordings {
        Some(folder) => Some(recordings(folder, pilot.is_some())?),
        None => None,
    };
    let only_recordings = pilot.is_none();
    let live = Arc::new(Live::default());
    let (send_end, mut end) = tokio::sync::mpsc::channel(1);
    let ended = move |ends| {
        // The channel has room for the only message.
        let _ = send_end.try_send(ends);
    };
    // Without a pilot nothing ends the page but its operator.
    let mut kept = None;
    let sampler = match pilot {
        Some(pilot) => Some(
            Sampler::start(pilot, Arc::clone(&live), options.pictures, ended)
                .context("the pilot cannot be observed")?,
        ),
        None => {
            kept = Some(ended);
            None
        }
    };
    let wheel = match options.hand_on_stdout {
        true => Some(wheel_on_stdout()?),
        false => None,
    };
    let shown = |url: String| match only_recordings {
        true => url.replacen("/?", "/recordings?", 1),
        false => url,
    };
    let mut address = format!("watch: {}", shown(server.url()));
    if let Some(url) = server.url_from_elsewhere().map(shown) {
        address = format!("watch: {url}");
        if std::io::stderr().is_terminal() {
            address += &code(&url);
        }
    }
    match wheel {
        Some(_) => pilotage_console::say_always(address),
        None => pilotage_console::print(address),
    }
    let brake = Arc::new(CarBrake {
        file: options.car,
        live: Arc::clone(&live),
    });
    let actions = Actions {
        brake,
        wheel,
        commands: options.commands,
        recordings,
    };
    tokio::select! {
        () = server.run(live, actions) => {}
        _ = end.recv() => {
            // The pages receive the end of the drive.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    }
    drop((sampler, kept));
    Ok(())
}

fn recordings(folder: PathBuf, beside_a_drive: bool) -> anyhow::Result<Arc<Recordings>> {
    let recordings = Recordings::of(folder.clone(), beside_a_drive);
    let recordings = recordings.with_context(|| format!("--recordings {}", folder.display()))?;
    Ok(Arc::new(recordings))
}

/// The address as a QR code for a phone's camera, on lines of its own.
fn code(url: &str) -> String {
    let code = QrCode::new(url).map(|code| code.render::<Dense1x2>().build());
    code.map_or_else(|_| String::new(), |code| format!("\n{code}"))
}

/// The wheel of the pilot at the other end of standard output.
fn wheel_on_stdout() -> anyhow::Result<Arc<Wheel>> {
    let pipe = std::io::stdout().as_fd().try_clone_to_owned();
    Wheel::over(pipe.context("standard output is closed")?)
        .map(Arc::new)
        .context("standard output is not a pipe to a pilot")
}

fn main() -> ExitCode {
    pilotage_console::run(|| match run() {
        Ok(status) => status,
        Err(error) => {
            pilotage_console::say_always(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    })
}
