//! The chunked transfer coding, read as it comes.

use anyhow::Context;

/// Where a reader is in a chunked body.
#[derive(Default)]
pub struct Chunks {
    state: State,
}

enum State {
    /// In a chunk's size, which so far is this; none of its digits was there where it is `None`.
    Size(Option<usize>),
    /// After the digits, up to the end of the line.
    SizeEnd(usize),
    /// So many bytes of the chunk are to come.
    Data(usize),
    /// Between a chunk and the next one's size.
    DataEnd,
    /// In the line after the last chunk; whether anything stands in it.
    Trailer(bool),
    Ended,
}

impl Default for State {
    fn default() -> Self {
        Self::Size(None)
    }
}

impl Chunks {
    /// Whether the body is complete.
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Takes bytes up to the end of the body, and gives what they carry to `each`; how many it took.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> anyhow::Result<usize> {
        let mut at = 0;
        while at < bytes.len() && !self.ended() {
            if let State::Data(left) = self.state {
                let piece = &bytes[at..][..left.min(bytes.len() - at)];
                each(piece);
                at += piece.len();
                self.state = if piece.len() == left { State::DataEnd } else { State::Data(left - piece.len()) };
            } else {
                self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> anyhow::Result<()> {
        self.state = match (&self.state, byte) {
            (State::Size(size), digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or_default() as usize;
                let size = size.unwrap_or(0).checked_mul(16).context("a chunk's size is out of bounds")?;
                State::Size(Some(size + digit))
            }
            (State::Size(size), b'\r' | b';') => State::SizeEnd(size.context("a chunk has no size")?),
            (State::SizeEnd(0), b'\n') => State::Trailer(false),
            (State::SizeEnd(size), b'\n') => State::Data(*size),
            (State::SizeEnd(size), _) => State::SizeEnd(*size),
            (State::DataEnd, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Size(None),
            (State::Trailer(false), b'\n') => State::Ended,
            (State::Trailer(true), b'\n') => State::Trailer(false),
            (State::Trailer(filled), other) => State::Trailer(*filled || other != b'\r'),
            _ => anyhow::bail!("{byte:#x} has no place in a chunked body"),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Chunks;

    #[test]
    fn a_body_is_put_together_wherever_it_is_cut() {
        let body = b"5\r\nhello\r\n1;name=value\r\n,\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nHTTP/1.1";
        let whole = body.len() - b"HTTP/1.1".len();
        for cut in 0..=body.len() {
            let (mut chunks, mut text) = (Chunks::default(), Vec::new());
            let mut taken = chunks.feed(&body[..cut], |piece| text.extend_from_slice(piece)).unwrap();
            taken += chunks.feed(&body[taken..], |piece| text.extend_from_slice(piece)).unwrap();
            assert!(chunks.ended());
            assert_eq!((text.as_slice(), taken), (&b"hello,0123456789"[..], whole), "cut at {cut}");
        }
        assert!(Chunks::default().feed(b"x", |_| ()).is_err());
        assert!(Chunks::default().feed(b"\r\n", |_| ()).is_err());
    }
}
