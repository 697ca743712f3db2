//! Addresses and networks of peers, as an allow-list names them: `10.1.4.7`, `10.1.4.0/24`, `fd00::/8`.
//!
//! Never resolves a name: whoever may send is written as an address, so that no name server decides it.

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that share their first bits. An IPv4 address that comes as `::ffff:a.b.c.d` is the
/// IPv4 address it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many leading bits have to agree.
    bits: u8,
}

impl Network {
    pub fn holds(&self, address: IpAddr) -> bool {
        // 128 bits for both: a shift by the whole width is none.
        let kept = |bits: u128, width: u8| {
            if self.bits == 0 { 0 } else { bits >> (u32::from(width) - u32::from(self.bits)) }
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                kept(own.to_bits().into(), 32) == kept(other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => kept(own.to_bits(), 128) == kept(other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address
            .trim()
            .parse()
            .map_err(|_| format!("`{text}` is neither an address nor a network such as 10.1.4.0/24"))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => bits
                .trim()
                .parse()
                .ok()
                .filter(|b| *b <= width)
                .ok_or_else(|| format!("`{text}`: after the slash stands a number from 0 to {width}"))?,
        };
        Ok(Network { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Network, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A list, or one text with commas, which is how an environment variable says it.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Vec<Network>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of addresses and networks")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<Network>, E> {
            let named = text.split(',').map(str::trim).filter(|t| !t.is_empty());
            named.map(|t| t.parse().map_err(E::custom)).collect()
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Network>, A::Error> {
            let mut networks = Vec::new();
            while let Some(network) = sequence.next_element()? {
                networks.push(network);
            }
            Ok(networks)
        }
    }
    deserializer.deserialize_any(List)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_shares_its_first_bits() {
        #[rustfmt::skip]
        let table = [
            ("10.1.4.7",       "10.1.4.7",          true),
            ("10.1.4.7",       "10.1.4.8",          false),
            ("10.1.4.7",       "::ffff:10.1.4.7",   true),
            ("10.1.4.0/24",    "10.1.4.255",        true),
            ("10.1.4.99/24",   "10.1.4.1",          true),
            ("10.1.4.0/24",    "10.1.5.0",          false),
            ("10.1.4.0/23",    "10.1.5.0",          true),
            ("0.0.0.0/0",      "192.0.2.1",         true),
            ("0.0.0.0/0",      "2001:db8::1",       false),
            ("::/0",           "2001:db8::1",       true),
            ("::/0",           "192.0.2.1",         false),
            ("fd00::/8",       "fdab::1",           true),
            ("fd00::/8",       "fe80::1",           false),
            ("2001:db8::1",    "2001:db8::1",       true),
            ("2001:db8::/127", "2001:db8::1",       true),
            ("2001:db8::/127", "2001:db8::2",       false),
        ];
        for (network, address, expected) in table {
            let network: Network = network.parse().expect("a network");
            assert_eq!(network.holds(address.parse().expect("an address")), expected, "{network} {address}");
        }
        for bad in ["", "lis.hospital.example", "10.1.4", "10.1.4.0/33", "10.1.4.0/-1", "::/129", "10.1.4.0/"]
        {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
