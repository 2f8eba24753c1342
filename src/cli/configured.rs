//! The user's configuration, for the verbs that go by it.

use super::error::CliError;
use crate::records::{Config, ConfigError, ConfigFile};

/// What it says; the defaults if it is to be ignored, or if there is no home to have one in.
///
/// # Errors
/// It cannot be read or says something that cannot be.
pub fn config(ignored: bool) -> Result<Config, CliError> {
    let file = match ConfigFile::of_user() {
        _ if ignored => return Ok(Config::default()),
        Err(ConfigError::NoHome) => return Ok(Config::default()),
        file => file?,
    };
    Ok(file.read()?)
}
