//! to come
pub fn print(_graphs: &[String], _seeds: u64, _runs: u64) -> Result<(), String> {
    Ok(())
}
