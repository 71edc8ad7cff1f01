//! Who may use the page: a token, a known host, the page's own origin, and a bounded rate.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

/// Requests a second that one budget admits on average, and at once.
const RATE: f64 = 50.0;
const BURST: f64 = 100.0;

/// The secret in the page's address: 128 random bits as 32 hexadecimal digits.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new token from the system's random numbers.
    ///
    /// # Errors
    /// When the system has none.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self(random_hex()?))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares in a time that depends only on the lengths.
    fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl std::fmt::Debug for Token {
    /// A token must not reach a log by accident.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(..)")
    }
}

/// 128 random bits in hexadecimal.
pub(crate) fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Decides about requests.
#[derive(Debug)]
pub struct Access {
    token: Token,
    address: SocketAddr,
    /// Names, besides addresses, under which the page may be opened.
    names: Vec<String>,
    with_token: Budget,
    without_token: Budget,
}

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Under this host name another site may have been opened (DNS rebinding).
    Host,
    /// The token is missing or wrong.
    Token,
    /// Another site sent the request.
    Origin,
    /// There are too many requests.
    Rate,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It loads the page, or nothing.
    Read,
    /// It opens the WebSocket, or changes something.
    Act,
    /// It stops the car. A request with the token is always admitted.
    Stop,
}

impl Access {
    /// The access to the page at `address`, which may also be opened under each of `names`.
    pub fn new(token: Token, address: SocketAddr, names: Vec<String>) -> Self {
        Self {
            token,
            address,
            names,
            with_token: Budget::new(),
            without_token: Budget::new(),
        }
    }

    /// The address of the page, with its token. An address that means "every address of this
    /// computer" is replaced by `localhost`.
    pub fn url(&self) -> String {
        let token = self.token.as_str();
        match self.address.ip().is_unspecified() {
            true => format!("http://localhost:{}/?token={token}", self.address.port()),
            false => format!("http://{}/?token={token}", self.address),
        }
    }

    pub(crate) fn check(&self, kind: Kind, uri: &Uri, headers: &HeaderMap) -> Result<(), Denied> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if !given_token(uri, text(header::AUTHORIZATION)).is_some_and(|it| self.token.matches(it)) {
            return match self.without_token.take() {
                true => Err(Denied::Token),
                false => Err(Denied::Rate),
            };
        }
        let host = text(header::HOST).filter(|host| self.allows_host(host));
        let host = host.ok_or(Denied::Host)?;
        if kind != Kind::Read {
            let origin = text(header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
            if origin != Some(host) {
                return Err(Denied::Origin);
            }
        }
        match kind == Kind::Stop || self.with_token.take() {
            true => Ok(()),
            false => Err(Denied::Rate),
        }
    }

    /// A page under a foreign name that resolves to this computer could otherwise read the answers.
    /// An address cannot be rebound.
    fn allows_host(&self, host: &str) -> bool {
        let Some(name) = host.strip_suffix(&format!(":{}", self.address.port())) else {
            return false;
        };
        let own = self.address.ip();
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(name).parse::<IpAddr>() {
            return ip == own || own.is_unspecified();
        }
        (name == "localhost" && (own.is_loopback() || own.is_unspecified()))
            || self.names.iter().any(|allowed| allowed == name)
    }
}

fn given_token<'a>(uri: &'a Uri, authorization: Option<&'a str>) -> Option<&'a str> {
    let in_header = authorization.and_then(|value| value.strip_prefix("Bearer "));
    in_header.or_else(|| {
        let query = uri.query()?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="))
    })
}

impl Denied {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::Rate => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Token => "open the whole address that pilotage-watch printed, with its token\n",
            Self::Host => "open the page by the address that was printed, or add --host NAME\n",
            Self::Origin => "the request does not come from this page\n",
            Self::Rate => "too many requests: wait a second\n",
        }
    }
}

/// A token bucket.
#[derive(Debug)]
struct Budget(Mutex<(f64, Instant)>);

impl Budget {
    fn new() -> Self {
        Self(Mutex::new((BURST, Instant::now())))
    }

    fn take(&self) -> bool {
        // A panic while the lock is held leaves valid numbers.
        let mut budget = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now.duration_since(budget.1).as_secs_f64();
        *budget = ((budget.0 + passed * RATE).min(BURST), now);
        let admitted = budget.0 >= 1.0;
        if admitted {
            budget.0 -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(address: &str, names: &[&str], host: &str) -> bool {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let token = Token("0".repeat(32));
        Access::new(token, address.parse().unwrap(), names).allows_host(host)
    }

    #[test]
    fn hosts() {
        for host in ["127.0.0.1:80", "localhost:80"] {
            assert!(allows("127.0.0.1:80", &[], host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:81",
            "evil.example:80",
            "10.0.0.1:80",
            "localhost.evil.example:80",
            "",
            ":80",
        ] {
            assert!(!allows("127.0.0.1:80", &[], host), "{host}");
        }
        assert!(allows("0.0.0.0:80", &[], "10.0.0.1:80"));
        assert!(allows("[::1]:80", &[], "[::1]:80"));
        assert!(!allows("0.0.0.0:80", &[], "car.local:80"));
        assert!(allows("0.0.0.0:80", &["car.local"], "car.local:80"));
    }

    #[test]
    fn tokens_differ_and_are_not_printed() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(one.as_str().len(), 32);
        assert!(one.matches(one.as_str()) && !one.matches(other.as_str()));
        assert!(!one.matches(&one.as_str()[..31]) && !one.matches(""));
        assert!(!format!("{one:?}").contains(one.as_str()));
    }
}
