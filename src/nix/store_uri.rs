//! The address of a builder's store, as the machines file writes it.
//!
//! Follows what Nix and Lix accept, old forms included: bare host names, bare IPv6 addresses, zone
//! ids, a port behind the host (Nix 2.31) or as a parameter (Lix). Which addresses can be used is
//! said by [`StoreUri::unsupported`]; how they are reached is `dispatch/`'s affair.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

/// How a builder is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `ssh`: `nix-store --serve` for Nix.
    Ssh,
    /// `ssh-ng`: `nix-daemon --stdio`.
    SshNg,
    /// Anything else, or a word such as `local` or a path: nothing that this program builds on.
    Other(String),
}

impl Scheme {
    fn parse(text: &str) -> Self {
        match text {
            "ssh" => Scheme::Ssh,
            "ssh-ng" => Scheme::SshNg,
            other => Scheme::Other(other.to_owned()),
        }
    }

    /// As it stands before `://`.
    pub fn as_str(&self) -> &str {
        match self {
            Scheme::Ssh => "ssh",
            Scheme::SshNg => "ssh-ng",
            Scheme::Other(other) => other,
        }
    }
}

/// A store address in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUri {
    /// How to reach it.
    pub scheme: Scheme,
    /// The user before `@`.
    pub user: Option<String>,
    /// The host name or address, without brackets; what follows `://` where the scheme is not ssh.
    pub host: String,
    /// The port, from behind the host or from `?port=`.
    pub port: Option<u16>,
    /// The query parameters, decoded; `port` is not among them.
    pub params: BTreeMap<String, String>,
}

impl StoreUri {
    /// Reads an address; a bare word is a host name, as Nix has it.
    ///
    /// # Errors
    /// One phrase that says what is wrong, to be put behind the place and the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut params = parse_query(query);
        let Some((scheme, rest)) = base.split_once("://") else {
            let special = base.contains('/') || ["", "auto", "daemon", "local"].contains(&base);
            if special {
                let scheme = Scheme::Other(if base.contains('/') { "local" } else { base }.to_owned());
                return Ok(Self { scheme, user: None, host: base.to_owned(), port: None, params });
            }
            return Self::ssh(Scheme::Ssh, base, params);
        };
        match Scheme::parse(scheme) {
            Scheme::Other(_) if scheme.is_empty() => Err("the scheme before '://' is empty".to_owned()),
            Scheme::Other(other) => {
                let port = None;
                params.retain(|key, _| key != "port");
                Ok(Self { scheme: Scheme::Other(other), user: None, host: rest.to_owned(), port, params })
            }
            ssh => Self::ssh(ssh, rest, params),
        }
    }

    fn ssh(scheme: Scheme, authority: &str, mut params: BTreeMap<String, String>) -> Result<Self, String> {
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains('/') {
            return Err("a path follows the host name; write user@host only".to_owned());
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(percent_decode(user)), host),
            None => (None, authority),
        };
        if user.as_deref().is_some_and(|u| u.is_empty() || u.starts_with('-') || !printable(u)) {
            return Err("the user name before '@' is empty or malformed".to_owned());
        }
        let (host, behind) = split_port(host)?;
        if host.is_empty() {
            return Err("the host name is empty".to_owned());
        }
        // A leading dash would be read as an option by ssh.
        if host.starts_with('-') || !printable(&host) {
            return Err(format!("'{}' is no host name", host.escape_debug()));
        }
        let param = params.remove("port").map(|p| parse_port(&p)).transpose()?;
        Ok(Self { scheme, user, host, port: behind.or(param), params })
    }

    /// Why this program cannot build there; `None` for ssh addresses.
    pub fn unsupported(&self) -> Option<String> {
        let Scheme::Other(scheme) = &self.scheme else { return None };
        Some(match scheme.as_str() {
            "" | "auto" | "daemon" | "local" | "unix" => {
                "it names a store of this machine, which takes part anyway as the host 'local'".to_owned()
            }
            other => format!("builders are reached over ssh:// and ssh-ng:// only, not {other}://"),
        })
    }
}

impl fmt::Display for StoreUri {
    /// Without the parameters, IPv6 addresses in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') && !matches!(self.scheme, Scheme::Other(_)) {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

fn printable(text: &str) -> bool {
    text.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("'{}' is no port (1 to 65535)", text.escape_debug())),
    }
}

/// Splits `host`, `host:port`, `[v6]`, `[v6]:port` and bare `v6`, with zone ids.
fn split_port(text: &str) -> Result<(String, Option<u16>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']').ok_or("the ']' after the address is missing")?;
        let address = v6(inner).ok_or_else(|| format!("'{}' is no IPv6 address", inner.escape_debug()))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((address, Some(parse_port(port)?))),
            None if after.is_empty() => Ok((address, None)),
            None => Err("only ':port' may follow ']'".to_owned()),
        };
    }
    match text.split_once(':') {
        None => Ok((percent_decode(text), None)),
        Some((host, port)) if !port.contains(':') => Ok((percent_decode(host), Some(parse_port(port)?))),
        Some(_) => match v6(text) {
            Some(address) => Ok((address, None)),
            None => Err(format!("'{}' is neither host:port nor an IPv6 address", text.escape_debug())),
        },
    }
}

/// An IPv6 address with its zone id decoded, if it is one.
fn v6(text: &str) -> Option<String> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (text, None),
    };
    address.parse::<Ipv6Addr>().ok()?;
    match zone {
        None => Some(address.to_owned()),
        Some(zone) if !zone.is_empty() && printable(zone) => Some(format!("{address}%{zone}")),
        Some(_) => None,
    }
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    // The first of equal keys counts, as in Nix.
    let mut params = BTreeMap::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        params.entry(percent_decode(key)).or_insert_with(|| percent_decode(value));
    }
    params
}

/// Decodes `%XX`; what is not a valid escape stays as it is.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex = |i: usize| bytes.get(i).and_then(|b| (*b as char).to_digit(16)).map(|d| d as u8);
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                i += 3;
            }
            (byte, ..) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_what_nix_and_lix_take() {
        for (text, shown) in [
            ("builder1", "ssh://builder1"),
            ("root@builder1", "ssh://root@builder1"),
            ("ssh-ng://root@b:2222", "ssh-ng://root@b:2222"),
            ("ssh://b?port=23", "ssh://b:23"),
            ("ssh://b/", "ssh://b"),
            ("ssh-ng://u@[::1]:2222", "ssh-ng://u@[::1]:2222"),
            ("ssh-ng://u@2001:db8::1", "ssh-ng://u@[2001:db8::1]"),
            ("ssh://[fe80::1%25eth0]", "ssh://[fe80::1%eth0]"),
            ("ssh://fe80::1%eth0", "ssh://[fe80::1%eth0]"),
            ("b:2222", "ssh://b:2222"),
        ] {
            let uri = StoreUri::parse(text).unwrap();
            assert_eq!((uri.to_string().as_str(), uri.unsupported()), (shown, None), "{text}");
        }
    }

    #[test]
    fn reads_parameters() {
        let uri = StoreUri::parse("ssh-ng://b?ssh-key=/k%20ey&remote-program=a+b&compress=true&x").unwrap();
        let params: Vec<_> = uri.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(params, ["compress=true", "remote-program=a+b", "ssh-key=/k ey", "x="]);
    }

    #[test]
    fn knows_what_it_cannot_use() {
        for text in
            ["local", "daemon", "auto", "local?root=/x", "unix:///run/x", "/mnt/store", "https://c", "?x=1"]
        {
            assert!(StoreUri::parse(text).unwrap().unsupported().is_some(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_host() {
        for text in [
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://a:0",
            "ssh://a:b",
            "ssh://a:b:c",
            "ssh://[::1",
            "ssh://[::1]x",
            "ssh://@h",
            "ssh://h/store",
            "://h",
            "ssh://h%0Ax",
            "ssh://h?port=99999",
        ] {
            assert!(StoreUri::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_shows_what_it_reads(text in "(ssh(-ng)?://)?\\PC{0,30}") {
            if let Ok(uri) = StoreUri::parse(&text) && uri.unsupported().is_none() {
                let again = StoreUri::parse(&uri.to_string());
                // A user or host with escapes is shown decoded, so only plain ones come back.
                if !text.contains('%') {
                    let again = again.unwrap();
                    prop_assert_eq!((again.user, again.host, again.port), (uri.user, uri.host, uri.port));
                }
            }
        }
    }
}
