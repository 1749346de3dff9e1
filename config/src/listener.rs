//! Addresses: what a broker listens on and what it tells clients to connect to.
//!
//! ```text
//! NAME://HOST:PORT    in `listeners` and `advertised.listeners`; IPv6 in brackets
//! HOST:PORT           on the command line; the listener is PLAINTEXT
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::keys::Settings;

/// An address that a broker listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Name that `advertised.listeners` and the cluster's metadata know it by; upper case.
    pub name: String,
    /// Host name or address without brackets; empty is every address of the machine.
    pub host: String,
    /// 0 is any free port.
    pub port: u16,
    /// How connections are secured.
    pub security: ListenerSecurity,
}

/// How the connections of a listener are secured: Kafka's security protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenerSecurity {
    /// Neither encrypted nor authenticated; every client is `User:ANONYMOUS`.
    Plaintext,
}

/// An address that clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Advertised {
    /// Name of the listener.
    pub name: String,
    /// Host name or address without brackets; never empty nor a wildcard.
    pub host: String,
    /// 0 stands for the port that the listener has bound.
    pub port: u16,
    /// As the listener's.
    pub security: ListenerSecurity,
}

/// `NAME://HOST:PORT` taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    name: String,
    host: String,
    port: u16,
}

impl Listener {
    /// Whether it listens on every address of the machine.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        is_wildcard(&self.host)
    }

    /// The host as something to bind: a wildcard is spelled out, a name is left to be resolved.
    #[must_use]
    pub fn bind_host(&self) -> &str {
        if self.host.is_empty() { "0.0.0.0" } else { &self.host }
    }
}

impl ListenerSecurity {
    /// `SecurityProtocol` as metadata records number it.
    #[must_use]
    pub fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
        }
    }

    /// Kafka's name of the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
        }
    }
}

impl Advertised {
    /// The port to advertise, where the listener has bound `bound`.
    #[must_use]
    pub fn port_or(&self, bound: u16) -> u16 {
        if self.port == 0 { bound } else { self.port }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, host_port(&self.host, self.port))
    }
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, host_port(&self.host, self.port))
    }
}

/// The value of `listeners` for an argument `HOST:PORT`, as of `--listen`. A whole
/// `NAME://HOST:PORT` is taken as it is.
pub fn from_host_port(argument: &str) -> Result<String, String> {
    if argument.contains("://") {
        return parse_addresses(&[argument.to_owned()]).map(|_| argument.to_owned());
    }
    let (host, port) = parse_host_port(argument).map_err(|why| {
        format!("{argument}: {why}; write HOST:PORT, as 127.0.0.1:9092 or [::1]:9092")
    })?;
    Ok(format!("PLAINTEXT://{}", host_port(&host, port)))
}

/// Takes `HOST:PORT` apart, the host without its brackets.
pub fn parse_host_port(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
            host.parse::<Ipv6Addr>().map_err(|_| "no IPv6 address in the brackets")?;
            (host, rest.strip_prefix(':').ok_or("the port is missing")?)
        }
        None => text.rsplit_once(':').ok_or("the port is missing")?,
    };
    if host.contains(':') && !text.starts_with('[') {
        return Err("an IPv6 address needs brackets");
    }
    if host.contains(['/', '@', ' ', ']']) {
        return Err("not a host name");
    }
    // Not "+1", which u16 would read.
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the port is not a number");
    }
    let port = port.parse().map_err(|_| "the port is not a number up to 65535")?;
    Ok((host.to_owned(), port))
}

/// `host:port`, an IPv6 address in brackets.
#[must_use]
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether a host stands for every address of the machine.
#[must_use]
pub fn is_wildcard(host: &str) -> bool {
    host.is_empty()
        || host.parse() == Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        || host.parse() == Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

pub(crate) fn parse_addresses(parts: &[String]) -> Result<Vec<Address>, String> {
    let mut addresses: Vec<Address> = Vec::new();
    for part in parts {
        let (name, rest) = part
            .split_once("://")
            .ok_or_else(|| format!("{part}: not of the form NAME://HOST:PORT"))?;
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if name.is_empty() || !name.bytes().all(word) {
            return Err(format!("{part}: not a listener name: {name}"));
        }
        let (host, port) = parse_host_port(rest).map_err(|why| format!("{part}: {why}"))?;
        // Kafka compares listener names in upper case.
        let address = Address { name: name.to_ascii_uppercase(), host, port };
        if addresses.iter().any(|other| other.name == address.name) {
            return Err(format!("{part}: the listener name {} is used twice", address.name));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

pub(crate) fn parse_protocol_map(text: &str) -> Result<Vec<(String, ListenerSecurity)>, String> {
    let entry = |entry: &str| {
        let (name, protocol) = entry
            .split_once(':')
            .ok_or_else(|| format!("{entry}: not of the form NAME:PROTOCOL"))?;
        match protocol.trim().to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Ok((name.trim().to_ascii_uppercase(), ListenerSecurity::Plaintext)),
            "SSL" | "SASL_PLAINTEXT" | "SASL_SSL" => {
                Err(format!("{entry}: TLS and SASL are not built yet; PLAINTEXT only"))
            }
            _ => Err(format!("{entry}: no such security protocol; PLAINTEXT only")),
        }
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(entry).collect()
}

/// A key at fault, and the message.
pub(crate) type Fault = (&'static str, String);

/// What to listen on; the values have been checked one by one.
pub(crate) fn listeners(settings: &Settings) -> Result<Vec<Listener>, Fault> {
    read_listeners(settings).map_err(|message| ("listeners", format!("listeners: {message}")))
}

fn read_listeners(settings: &Settings) -> Result<Vec<Listener>, String> {
    let addresses = parse_addresses(&settings.listeners)?;
    let map = parse_protocol_map(&settings.listener_security_protocol_map)?;
    if addresses.is_empty() {
        return Err("at least one is needed, as PLAINTEXT://127.0.0.1:9092".to_owned());
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for Address { name, host, port } in addresses {
        let Some((_, security)) = map.iter().find(|(mapped, _)| *mapped == name) else {
            return Err(format!(
                "no security protocol is defined for the listener {name}; add \
                 {name}:PLAINTEXT to listener.security.protocol.map"
            ));
        };
        let listener = Listener { name, host, port, security: *security };
        if let Some(other) = listeners.iter().find(|other| other.collides(&listener)) {
            return Err(format!("{other} and {listener} want the same port"));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

/// What clients are told: one address for each listener, in the same order.
pub(crate) fn advertised(
    settings: &Settings,
    listeners: &[Listener],
) -> Result<Vec<Advertised>, Fault> {
    let key = match settings.advertised_listeners.is_empty() {
        true => "listeners",
        false => "advertised.listeners",
    };
    read_advertised(settings, listeners).map_err(|message| (key, format!("{key}: {message}")))
}

fn read_advertised(settings: &Settings, listeners: &[Listener]) -> Result<Vec<Advertised>, String> {
    let addresses = parse_addresses(&settings.advertised_listeners)?;
    if let Some(stray) = addresses.iter().find(|a| listeners.iter().all(|l| l.name != a.name)) {
        return Err(format!("{} is not among the listeners", stray.name));
    }
    let advertise = |listener: &Listener| {
        let (host, port) = match addresses.iter().find(|address| address.name == listener.name) {
            Some(address) => (&address.host, address.port),
            None if addresses.is_empty() => (&listener.host, listener.port),
            None => return Err(format!("the listener {} is missing", listener.name)),
        };
        if is_wildcard(host) {
            return Err(format!(
                "clients cannot connect to {}; set advertised.listeners to an address they can \
                 reach, as {}://my-host:{}",
                host_port(host, port),
                listener.name,
                listener.port,
            ));
        }
        let (name, host) = (listener.name.clone(), host.clone());
        Ok(Advertised { name, host, port, security: listener.security })
    };
    listeners.iter().map(advertise).collect()
}

impl Listener {
    /// Whether binding both is bound to fail. Names are not resolved.
    fn collides(&self, other: &Self) -> bool {
        let v6 = |listener: &Self| listener.host.contains(':');
        let overlap = self.host == other.host || self.is_wildcard() || other.is_wildcard();
        self.port != 0 && self.port == other.port && v6(self) == v6(other) && overlap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn load(sets: &[&str]) -> Result<Config, String> {
        let builder = sets.iter().fold(Config::builder(), |builder, set| builder.set(set));
        builder.build().map_err(|errors| errors.to_string())
    }

    #[test]
    fn hosts_and_ports() {
        let parsed = |text| parse_host_port(text).map(|(host, port)| host_port(&host, port));
        for text in ["127.0.0.1:9092", "[::1]:1", ":9092", "my-host:0"] {
            assert_eq!(parsed(text).as_deref(), Ok(text));
        }
        for (text, why) in [
            ("9092", "the port is missing"),
            ("[::1]", "the port is missing"),
            ("[::1:9092", "a bracket is not closed"),
            ("[host]:1", "no IPv6 address in the brackets"),
            ("::1:9092", "an IPv6 address needs brackets"),
            ("host:", "the port is not a number up to 65535"),
            ("host:65536", "the port is not a number up to 65535"),
            ("host:+1", "the port is not a number"),
            ("a/b:1", "not a host name"),
        ] {
            assert_eq!(parsed(text), Err(why), "{text}");
        }
        assert_eq!(from_host_port("[::1]:0").as_deref(), Ok("PLAINTEXT://[::1]:0"));
        assert_eq!(from_host_port("plaintext://h:1").as_deref(), Ok("plaintext://h:1"));
        assert!(from_host_port("h").is_err());
    }

    #[test]
    fn defaults_are_local() {
        let config = Config::default();
        assert_eq!(config.listeners()[0].to_string(), "PLAINTEXT://127.0.0.1:9092");
        assert_eq!(config.advertised()[0].to_string(), "PLAINTEXT://127.0.0.1:9092");
    }

    #[test]
    fn several_listeners_by_name() {
        let config = load(&[
            "listeners=inside://:9092, OUTSIDE://[::1]:9093",
            "advertised.listeners=OUTSIDE://example.org:443,INSIDE://10.0.0.1:0",
            "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,UNUSED:PLAINTEXT",
        ])
        .expect("valid");
        let advertised: Vec<_> = config.advertised().iter().map(ToString::to_string).collect();
        assert_eq!(advertised, ["INSIDE://10.0.0.1:0", "OUTSIDE://example.org:443"]);
        assert_eq!(config.advertised()[0].port_or(9092), 9092);
        assert_eq!(config.listeners()[1].host, "::1");
        assert!(config.listeners()[0].is_wildcard());
    }

    #[test]
    fn wildcards_are_not_advertised() {
        for host in ["", "0.0.0.0", "[::]", "[0:0:0:0:0:0:0:0]"] {
            let error =
                load(&[&format!("listeners=PLAINTEXT://{host}:9092")]).expect_err("refused");
            assert!(error.contains("set advertised.listeners"), "{error}");
            assert!(error.contains("PLAINTEXT://my-host:9092"), "{error}");
            let error = load(&[&format!("advertised.listeners=PLAINTEXT://{host}:9092")]);
            assert!(error.expect_err("refused").contains("advertised.listeners: clients cannot"));
        }
        load(&["listeners=PLAINTEXT://0.0.0.0:1", "advertised.listeners=PLAINTEXT://h:1"])
            .expect("valid");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (sets, why) in [
            (&["listeners=SSL://h:1"][..], "no security protocol is defined for the listener SSL"),
            (&["listeners="], "at least one is needed"),
            (&["listeners=h:1"], "not of the form NAME://HOST:PORT"),
            (&["listeners=A://h:1,a://h:2"], "the listener name A is used twice"),
            (&["listener.security.protocol.map=PLAINTEXT:SSL"], "TLS and SASL are not built yet"),
            (&["listener.security.protocol.map=PLAINTEXT:FOO"], "no such security protocol"),
            (&["advertised.listeners=OTHER://h:1"], "OTHER is not among the listeners"),
            (
                &[
                    "listeners=A://0.0.0.0:1,B://127.0.0.1:1",
                    "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
                ],
                "want the same port",
            ),
            (
                &[
                    "listeners=A://h:1,B://h:2",
                    "advertised.listeners=A://h:1",
                    "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
                ],
                "the listener B is missing",
            ),
        ] {
            let error = load(sets).expect_err("refused");
            assert!(error.contains(why), "{sets:?}: {error}");
        }
    }
}
