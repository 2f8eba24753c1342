//! Logging in: which keys are offered in which order. Never asks anybody anything.

use std::path::PathBuf;

use ssh2::{Agent, ErrorCode, PublicKey, Session};

use super::error::auth_remedy;
use super::keyfile::{KeyFile, State};
use super::known_hosts::blob_type;
use super::ssh2_carrier::Failure;
use super::{LinkError, Resolved};

/// libssh2's codes for "this key did not do, the next may": file, authentication failed, public key
/// unverified, agent protocol, method not supported, algorithm unsupported, and the generic one.
const NEXT_KEY: [i32; 7] = [-16, -18, -19, -42, -33, -51, -1];
const TIMEOUT: i32 = -9;

/// One thing to offer.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// The agent's key of this index.
    Agent(usize),
    File(PathBuf),
}

/// What to offer, and what cannot be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    offers: Vec<Offer>,
    /// Keys that were passed over, with the reason, for the error message.
    skipped: Vec<String>,
    /// A key that OpenSSH could use and libssh2 cannot.
    beyond: Option<String>,
}

/// Agent keys that are named by a file come first, then the agent's others, then files.
fn plan(files: &[KeyFile], agent: &[Vec<u8>], only_files: bool) -> Plan {
    let mut plan = Plan::default();
    let usable: Vec<bool> = agent.iter().map(|blob| agent_key_usable(blob, &mut plan)).collect();
    let held = |file: &KeyFile| file.blob.as_ref().and_then(|blob| agent.iter().position(|key| key == blob));
    let mut offered = vec![false; agent.len()];
    for index in files.iter().filter_map(held) {
        if usable[index] && !std::mem::replace(&mut offered[index], true) {
            plan.offers.push(Offer::Agent(index));
        }
    }
    if !only_files {
        let rest = (0..agent.len()).filter(|index| usable[*index] && !offered[*index]);
        plan.offers.extend(rest.map(Offer::Agent));
    }
    for file in files.iter().filter(|file| held(file).is_none()) {
        let path = file.path.display();
        if file.state != State::Missing && (file.is_hardware() || file.has_certificate()) {
            plan.beyond = Some(format!("{path} is a hardware key or has a certificate"));
        }
        match &file.state {
            State::Plain if file.is_hardware() => {}
            State::Plain => plan.offers.push(Offer::File(file.path.clone())),
            State::Encrypted => {
                let shown = path.to_string();
                let quoted = shell_words::quote(&shown);
                plan.skipped.push(format!("{path} (encrypted and not in the agent: `ssh-add {quoted}`)"))
            }
            State::Public => plan.skipped.push(format!("{path} (not in the agent)")),
            State::Unreadable(why) => plan.skipped.push(format!("{path} ({why})")),
            // Most of ssh's default files do not exist; one that was asked for should.
            State::Missing if only_files => plan.skipped.push(format!("{path} (does not exist)")),
            State::Missing => {}
        }
    }
    plan
}

fn agent_key_usable(blob: &[u8], plan: &mut Plan) -> bool {
    let key_type = blob_type(blob).unwrap_or_default();
    let usable = !key_type.starts_with("sk-") && !key_type.contains("-cert-");
    if !usable {
        plan.beyond = Some(format!("the agent holds a {key_type}"));
    }
    usable
}

/// Logs in over a session whose host key is verified.
pub(super) fn authenticate(session: &Session, host: &Resolved) -> Result<(), Failure> {
    let user = host.user();
    let methods = match session.auth_methods(user) {
        Ok(methods) => methods.to_owned(),
        // Asking is trying without anything, which some servers accept.
        Err(_) if session.authenticated() => return Ok(()),
        Err(error) => return Err(broken(host, &error)),
    };
    let only_files = host.target().key.is_some() || host.config().is_on("identitiesonly");
    let files: Vec<KeyFile> = host.identities().iter().map(|path| KeyFile::read(path)).collect();
    let agent = open_agent(session, host);
    let keys = agent.as_ref().map(|(_, keys)| keys.as_slice()).unwrap_or_default();
    let blobs: Vec<Vec<u8>> = keys.iter().map(|key| key.blob().to_vec()).collect();
    let plan = plan(&files, &blobs, only_files);

    let mut tried = Vec::new();
    if methods.split(',').any(|method| method == "publickey") {
        for offer in &plan.offers {
            let (name, result) = match (offer, &agent) {
                (Offer::Agent(index), Some((agent, keys))) => {
                    (format!("agent key {}", keys[*index].comment()), agent.userauth(user, &keys[*index]))
                }
                (Offer::Agent(_), None) => continue,
                (Offer::File(path), _) => {
                    (path.display().to_string(), session.userauth_pubkey_file(user, None, path, None))
                }
            };
            tried.push(name);
            match result {
                Ok(()) if session.authenticated() => return Ok(()),
                Ok(()) => {}
                Err(error) if matches!(error.code(), ErrorCode::Session(code) if NEXT_KEY.contains(&code)) => {
                }
                Err(error) if is_timeout(&error) => return Err(broken(host, &error)),
                Err(error) => {
                    tried.push(format!("then the server ended it: {}", error.message()));
                    break;
                }
            }
        }
    }
    Err(refused(host, methods, tried, plan))
}

fn refused(host: &Resolved, methods: String, mut tried: Vec<String>, plan: Plan) -> Failure {
    if let Some(why) = plan.beyond {
        return Failure::Beyond(why);
    }
    if methods.split(',').any(|method| method == "gssapi-with-mic" || method == "hostbased") {
        return Failure::Beyond(format!("the server accepts {methods}"));
    }
    tried.extend(plan.skipped);
    Failure::Error(LinkError::Authentication {
        host: host.name().to_owned(),
        user: host.user().to_owned(),
        methods,
        tried: if tried.is_empty() { "no key, there is none".to_owned() } else { tried.join(", ") },
        remedy: auth_remedy(&host.called().ssh),
    })
}

/// The agent and its keys; no agent, or one that does not answer, is none.
fn open_agent(session: &Session, host: &Resolved) -> Option<(Agent, Vec<PublicKey>)> {
    let socket = host.agent()?;
    let open = || {
        let mut agent = session.agent()?;
        agent.set_identity_path(socket)?;
        agent.connect()?;
        agent.list_identities()?;
        let keys = agent.identities()?;
        Ok::<_, ssh2::Error>((agent, keys))
    };
    open().inspect_err(|error| tracing::debug!(%error, "the ssh agent is of no use")).ok()
}

fn is_timeout(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(TIMEOUT)
}

fn broken(host: &Resolved, error: &ssh2::Error) -> Failure {
    let cause = format!("while logging in: {}", error.message());
    Failure::Error(LinkError::unreachable(&host.called(), &cause, is_timeout(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(key_type: &str, body: u8) -> Vec<u8> {
        let mut blob = u32::try_from(key_type.len()).unwrap().to_be_bytes().to_vec();
        blob.extend(key_type.as_bytes());
        blob.push(body);
        blob
    }

    fn file(path: &str, state: State, blob: Option<Vec<u8>>) -> KeyFile {
        KeyFile { path: PathBuf::from(path), state, blob }
    }

    #[test]
    fn agent_keys_named_by_files_then_other_agent_keys_then_files() {
        let agent = [blob("ssh-rsa", 1), blob("ssh-ed25519", 2)];
        let files = [
            file("/plain", State::Plain, None),
            file("/held", State::Encrypted, Some(blob("ssh-ed25519", 2))),
        ];
        let all = plan(&files, &agent, false);
        assert_eq!(all.offers, [Offer::Agent(1), Offer::Agent(0), Offer::File("/plain".into())]);
        assert_eq!(plan(&files, &agent, true).offers, [Offer::Agent(1), Offer::File("/plain".into())]);
    }

    #[test]
    fn what_cannot_be_offered_is_named() {
        let files = [
            file("/enc", State::Encrypted, None),
            file("/gone", State::Missing, None),
            file("/sk", State::Plain, Some(blob("sk-ssh-ed25519@openssh.com", 1))),
        ];
        let plan = plan(&files, &[blob("ssh-ed25519-cert-v01@openssh.com", 1)], true);
        assert_eq!(plan.offers, []);
        assert!(plan.skipped[0].contains("ssh-add /enc") && plan.skipped[1].contains("/gone"));
        assert!(plan.beyond.is_some_and(|why| why.contains("/sk")));
    }
}
