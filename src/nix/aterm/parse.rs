//! The parser: one function per thing in the grammar, none of which calls itself.

use super::super::store_path::shorten;
use super::{AtermError, Recipe, RecipeOutput};

/// How many bytes of wrong text are quoted.
const QUOTED: usize = 20;

pub(super) fn recipe(text: &[u8]) -> Result<Recipe, AtermError> {
    let mut input = Input { text, at: 0 };
    if input.skip(b"DrvWithVersion(") {
        let version = shorten(&input.text()?);
        return Err(AtermError::Version { version });
    }
    input.expect(b"Derive(", "'Derive('")?;
    let outputs = input.list(output)?;
    input.comma()?;
    let input_drvs = input.list(input_drv)?;
    input.comma()?;
    let input_srcs = input.list(Input::text)?;
    input.comma()?;
    let system = input.text()?;
    input.comma()?;
    let builder = input.text()?;
    input.comma()?;
    let args = input.list(Input::bytes)?;
    input.comma()?;
    let env = input.list(variable)?;
    input.close()?;
    if input.at < text.len() {
        return Err(input.error("the end"));
    }
    Ok(Recipe { outputs, input_drvs, input_srcs, system, builder, args, env })
}

fn output(input: &mut Input<'_>) -> Result<RecipeOutput, AtermError> {
    input.open()?;
    let name = input.text()?;
    input.comma()?;
    let path = input.text()?;
    input.comma()?;
    let hash_algo = input.text()?;
    input.comma()?;
    let hash = input.text()?;
    input.close()?;
    Ok(RecipeOutput { name, path, hash_algo, hash })
}

fn input_drv(input: &mut Input<'_>) -> Result<(String, Vec<String>), AtermError> {
    input.open()?;
    let path = input.text()?;
    input.comma()?;
    let used = input.list(Input::text)?;
    input.close()?;
    Ok((path, used))
}

fn variable(input: &mut Input<'_>) -> Result<(String, Vec<u8>), AtermError> {
    input.open()?;
    let name = input.text()?;
    input.comma()?;
    let value = input.bytes()?;
    input.close()?;
    Ok((name, value))
}

struct Input<'a> {
    text: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn error(&self, expected: &'static str) -> AtermError {
        self.error_at(self.at, expected)
    }

    fn error_at(&self, offset: usize, expected: &'static str) -> AtermError {
        let rest = &self.text[offset..];
        let found = match rest {
            [] => "the end".to_owned(),
            _ => format!("'{}'", rest[..rest.len().min(QUOTED)].escape_ascii()),
        };
        AtermError::Syntax { offset, expected, found }
    }

    /// Goes past these bytes if they are next.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let next = self.rest().starts_with(bytes);
        if next {
            self.at += bytes.len();
        }
        next
    }

    fn expect(&mut self, bytes: &[u8], expected: &'static str) -> Result<(), AtermError> {
        if self.skip(bytes) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn comma(&mut self) -> Result<(), AtermError> {
        self.expect(b",", "','")
    }

    fn open(&mut self) -> Result<(), AtermError> {
        self.expect(b"(", "'('")
    }

    fn close(&mut self) -> Result<(), AtermError> {
        self.expect(b")", "')'")
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> Result<T, AtermError>) -> Result<Vec<T>, AtermError> {
        self.expect(b"[", "'['")?;
        let mut items = Vec::new();
        if self.skip(b"]") {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.skip(b"]") {
                return Ok(items);
            }
            self.expect(b",", "',' or ']'")?;
        }
    }

    fn text(&mut self) -> Result<String, AtermError> {
        let start = self.at;
        String::from_utf8(self.bytes()?).map_err(|_| self.error_at(start, "a string in UTF-8"))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, AtermError> {
        self.expect(b"\"", "a string")?;
        let mut bytes = Vec::new();
        loop {
            let plain = self.rest().iter().position(|c| matches!(c, b'"' | b'\\' | b'\n' | b'\r' | b'\t'));
            let plain = plain.unwrap_or(self.rest().len());
            bytes.extend_from_slice(&self.rest()[..plain]);
            self.at += plain;
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(bytes);
                }
                [b'\\', escaped, ..] => {
                    bytes.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'"' | b'\\' => *escaped,
                        _ => return Err(self.error("one of the escapes \\\\, \\\", \\n, \\r and \\t")),
                    });
                    self.at += 2;
                }
                [b'\n' | b'\r' | b'\t', ..] => {
                    return Err(self.error("a string without bare line ends and tabs"));
                }
                _ => return Err(self.error("the end of a string")),
            }
        }
    }
}
