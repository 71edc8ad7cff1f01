//! A server with a tap behind it and a brake that counts, and what tests send to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pilotage_guard::LinkError;
use pilotage_tap::{Drive, EngineInputs, FrameRecord, PictureView, PixelFormat, Tap, TapServer};
use pilotage_vehicle::{Measurements, Rays, Time};
use pilotage_watch::{
    Access, Actions, Brake, BrakeError, Ends, Live, PilotAt, Recordings, Sampler, Server, Token,
    Wheel,
};
use serde_json::Value;
use tungstenite::{ClientRequestBuilder, Message, WebSocket};

/// Counts stops, and fails to disarm.
#[derive(Default)]
pub struct Counting(AtomicUsize);

impl Brake for Counting {
    fn stop(&self) -> Result<String, BrakeError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok("stopped".to_owned())
    }

    fn disarm(&self) -> Result<String, BrakeError> {
        Err(LinkError::Gone.into())
    }
}

pub struct Running {
    pub tap: Tap,
    pub pilot: Option<TapServer>,
    pub live: Arc<Live>,
    pub brake: Arc<Counting>,
    pub token: String,
    pub address: SocketAddr,
    pub ended: std::sync::mpsc::Receiver<Ends>,
    _sampler: Sampler,
}

pub const DRIVE: (PixelFormat, u32, u32) = (PixelFormat::Rgb8, 32, 16);

pub fn start() -> Running {
    start_with(None, None)
}

/// The same, with pages that drive, and a pilot that takes commands at a socket.
pub fn start_with(wheel: Option<Wheel>, commands: Option<PathBuf>) -> Running {
    start_all(wheel, commands, None)
}

/// The same, with recordings that the page shows.
pub fn start_all(
    wheel: Option<Wheel>,
    commands: Option<PathBuf>,
    recordings: Option<Arc<Recordings>>,
) -> Running {
    let drive = Drive {
        name: "a <car>".to_owned(),
        simulated: true,
        deadline: Duration::from_millis(100),
        frame_period: Duration::from_millis(33),
        track: vec![[1.0, 2.0]],
        inputs: EngineInputs {
            measured: [true, false, false, false],
            replacements: Measurements::new([Some(0.5), None, None, None]),
            commands: vec!["left".to_owned(), "right".to_owned()],
            scan: Rays::new(541, -135.0, 135.0),
            scan_replacement: None,
            memory: true,
        },
        lidar_rays: 1081,
    };
    let (tap, source) = Tap::create(&drive, DRIVE).unwrap();
    let (ours, theirs) = TapServer::pair().unwrap();
    let pilot = Some(TapServer::start(source, None, vec![theirs]).unwrap());
    let (live, brake) = (Arc::new(Live::default()), Arc::<Counting>::default());
    let (send_end, ended) = std::sync::mpsc::channel();
    let end = move |ends| {
        let _ = send_end.send(ends);
    };
    let sampler = Sampler::start(PilotAt::Connection(ours), Arc::clone(&live), 30, end).unwrap();
    let token = Token::random().unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    {
        let (live, brake, token) = (Arc::clone(&live), Arc::clone(&brake), token.clone());
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let mut address = any;
                let access = |given| {
                    address = given;
                    Access::new(token, given, Vec::new())
                };
                let server = Server::listen(any, access).await.unwrap();
                send.send(address).unwrap();
                let wheel = wheel.map(Arc::new);
                let actions = Actions {
                    brake,
                    wheel,
                    commands,
                    recordings,
                };
                server.run(live, actions).await;
            });
        });
    }
    Running {
        tap,
        pilot,
        live,
        brake,
        token: token.as_str().to_owned(),
        address: receive.recv().unwrap(),
        ended,
        _sampler: sampler,
    }
}

impl Running {
    /// Sends `head`, with HOST and TOKEN replaced, and returns the whole response.
    pub fn send(&self, head: &str) -> String {
        let head = head.replace("HOST", &self.address.to_string());
        let head = head.replace("TOKEN", &self.token).replace('\n', "\r\n");
        let mut stream = TcpStream::connect(self.address).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(head.as_bytes());
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
        // Pictures are no text.
        String::from_utf8_lossy(&response).into_owned()
    }

    /// The status of the response to `head`; 0 without a response.
    pub fn status(&self, head: &str) -> u16 {
        let response = self.send(head);
        let code = response.split(' ').nth(1).unwrap_or_default();
        code.parse().unwrap_or_default()
    }

    pub fn stop(&self) -> u16 {
        self.status(STOP)
    }

    pub fn stops(&self) -> usize {
        self.brake.0.load(Ordering::SeqCst)
    }

    pub fn page(&self) -> Result<WebSocket<TcpStream>, Box<tungstenite::Error>> {
        self.page_from(&format!("http://{}", self.address))
    }

    pub fn page_from(&self, origin: &str) -> Result<WebSocket<TcpStream>, Box<tungstenite::Error>> {
        let uri = format!("ws://{}/live?token={}", self.address, self.token);
        let request = ClientRequestBuilder::new(uri.parse().unwrap());
        let request = request.with_header("Origin", origin);
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(Box::new(error)),
            Err(tungstenite::HandshakeError::Interrupted(_)) => unreachable!("it blocks"),
        }
    }

    pub fn publish(&mut self, number: u64) {
        let record = FrameRecord::new(number, Time::from_nanos(number));
        self.tap.publish(&record);
    }

    pub fn offer(&mut self, number: u64) -> bool {
        self.tap.offer_picture(&PictureView {
            format: DRIVE.0,
            width: DRIVE.1,
            height: DRIVE.2,
            data: &[number as u8; 32 * 16 * 3],
            sequence: number,
            captured: 0,
        })
    }
}

pub const STOP: &str = "POST /stop HTTP/1.1\nHost: HOST\nOrigin: http://HOST\n\
                    Authorization: Bearer TOKEN\nConnection: close\nContent-Length: 0\n\n";

/// The next JSON message of this kind.
pub fn json(page: &mut WebSocket<TcpStream>, kind: &str) -> Value {
    loop {
        if let Message::Text(text) = page.read().unwrap() {
            let value: Value = serde_json::from_str(&text).unwrap();
            if value["kind"] == kind {
                return value;
            }
        }
    }
}

pub fn wait_until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it never happened"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
