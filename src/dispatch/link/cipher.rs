//! Which cipher to ask for.
//!
//! libssh2's own ChaCha20 is portable C at some 300 MB/s, and its first choice; OpenSSH's first choice is
//! the same cipher, with a MAC in portable C. AES-GCM comes from OpenSSL and is several times as fast
//! where the processor has instructions for it. With closures passing through this machine in both
//! directions, that decides how fast they pass.

const FAST_WITH_AES: [&str; 2] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];

/// The ciphers in the order to ask for them, as SSH writes lists. `allowed` is what `ssh -G` says of
/// `Ciphers`; it is kept to as far as libssh2 knows any of it.
pub(super) fn preference(supported: &[&str], allowed: Option<&str>) -> String {
    ordered(supported, allowed, has_aes())
}

/// As [`preference`], for OpenSSH itself: the list of `ssh -G` in another order, with nothing more in it.
/// `None` where it is no plain list.
pub(super) fn reordered(allowed: &str) -> Option<String> {
    let plain = !allowed.is_empty() && !allowed.starts_with(['+', '-', '^']);
    let all: Vec<&str> = allowed.split(',').collect();
    plain.then(|| ordered(&all, None, has_aes()))
}

fn ordered(supported: &[&str], allowed: Option<&str>, aes: bool) -> String {
    let allowed: Vec<&str> = allowed.unwrap_or_default().split(',').collect();
    let both: Vec<&str> = supported.iter().copied().filter(|c| allowed.contains(c)).collect();
    let mut list = if both.is_empty() { supported.to_vec() } else { both };
    if aes {
        // Stable: all else stays in its order.
        list.sort_by_key(|c| FAST_WITH_AES.iter().position(|f| f == c).unwrap_or(FAST_WITH_AES.len()));
    }
    list.join(",")
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 4] =
        ["chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"];

    #[test]
    fn aes_goes_first_only_where_it_is_fast() {
        let fast = ordered(&ALL, None, true);
        assert!(fast.starts_with("aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20"), "{fast}");
        assert!(ordered(&ALL, None, false).starts_with("chacha20"));
    }

    #[test]
    fn openssh_gets_the_same_ciphers_in_another_order() {
        let allowed = ALL.join(",");
        let got = reordered(&allowed).unwrap();
        let mut sorted: Vec<&str> = got.split(',').collect();
        sorted.sort_unstable_by_key(|cipher| ALL.iter().position(|c| c == cipher));
        assert_eq!(sorted, ALL);
        assert_eq!(got.starts_with("aes128-gcm"), has_aes(), "{got}");
        assert_eq!(reordered("aes256-ctr"), Some("aes256-ctr".to_owned()));
        assert_eq!((reordered(""), reordered("^aes256-ctr,aes128-gcm@openssh.com")), (None, None));
    }

    #[test]
    fn the_users_ciphers_are_kept_to() {
        assert_eq!(ordered(&ALL, Some("aes256-ctr,3des-cbc"), true), "aes256-ctr");
        assert_eq!(ordered(&ALL, Some("3des-cbc"), false), ALL.join(","));
    }
}
