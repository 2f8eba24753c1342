//! Which cipher libssh2 is to ask for.
//!
//! Its own ChaCha20 is portable C at some 300 MB/s, and its first choice; AES-GCM comes from OpenSSL and
//! is several times as fast where the processor has instructions for it. With closures passing
//! through this machine in both directions, that decides how fast they pass.

const FAST_WITH_AES: [&str; 2] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];

/// The ciphers in the order to ask for them, as SSH writes lists. `allowed` is what `ssh -G` says of
/// `Ciphers`; it is kept to as far as libssh2 knows any of it.
pub(super) fn preference(supported: &[&str], allowed: Option<&str>) -> String {
    ordered(supported, allowed, has_aes())
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
    fn the_users_ciphers_are_kept_to() {
        assert_eq!(ordered(&ALL, Some("aes256-ctr,3des-cbc"), true), "aes256-ctr");
        assert_eq!(ordered(&ALL, Some("3des-cbc"), false), ALL.join(","));
    }
}
