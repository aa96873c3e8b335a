//! Header blocks: name and value pairs, all blocks of one direction in one zlib stream with a preset dictionary.

use bytes::{Buf, BufMut, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::dictionary::DICTIONARY;
use crate::streams::StreamError;

/// A block larger than this is refused: stream headers are a handful of short words.
const MAX_BLOCK_BYTES: usize = 64 << 10;

/// Names are lower case on the wire.
pub type HeaderList = Vec<(String, String)>;

/// The value of `name` in `headers`, whatever the case of either.
pub fn find<'a>(headers: &'a HeaderList, name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Reads the header blocks of one direction, in order.
pub struct Decoder(Decompress);

/// Writes the header blocks of one direction, in order.
pub struct Encoder(Compress);

impl Default for Decoder {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Decoder {
    /// The headers of the next block.
    pub fn decode(&mut self, block: &[u8]) -> Result<HeaderList, StreamError> {
        read_pairs(self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Bytes, StreamError> {
        let mut out = Vec::with_capacity(1024);
        loop {
            let (before_in, before_out) = (self.0.total_in(), out.len());
            let result = self.0.decompress_vec(block, &mut out, FlushDecompress::Sync);
            let consumed = usize::try_from(self.0.total_in() - before_in).expect("no more than was given");
            block = &block[consumed..];
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&DICTIONARY)
                        .map_err(|_| StreamError::protocol("foreign header dictionary"))?;
                    continue;
                }
                Err(error) => return Err(StreamError::protocol(format!("header block: {error}"))),
                Ok(_) => {}
            }
            if out.len() > MAX_BLOCK_BYTES {
                return Err(StreamError::protocol("header block too large"));
            }
            let stalled = consumed == 0 && out.len() == before_out;
            if block.is_empty() && out.len() < out.capacity() || stalled {
                return Ok(out.into());
            }
            out.reserve(1024);
        }
    }
}

fn read_pairs(mut block: Bytes) -> Result<HeaderList, StreamError> {
    fn number(block: &mut Bytes) -> Result<usize, StreamError> {
        if block.len() < 4 {
            return Err(StreamError::protocol("header block cut short"));
        }
        Ok(usize::try_from(block.get_u32()).expect("32 bits fit"))
    }
    fn text(block: &mut Bytes) -> Result<String, StreamError> {
        let length = number(block)?;
        if block.len() < length {
            return Err(StreamError::protocol("header block cut short"));
        }
        String::from_utf8(block.split_to(length).to_vec()).map_err(|_| StreamError::protocol("header is not UTF-8"))
    }
    let count = number(&mut block)?;
    let mut headers = HeaderList::new();
    for _ in 0..count {
        let name = text(&mut block)?;
        headers.push((name, text(&mut block)?));
    }
    Ok(headers)
}

impl Default for Encoder {
    fn default() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&DICTIONARY).expect("a fresh stream takes a dictionary");
        Self(compress)
    }
}

impl Encoder {
    /// The next block.
    pub fn encode(&mut self, headers: &[(&str, &str)]) -> Bytes {
        let mut plain = Vec::new();
        plain.put_u32(u32::try_from(headers.len()).expect("few headers"));
        for (name, value) in headers {
            for text in [name, value] {
                plain.put_u32(u32::try_from(text.len()).expect("short headers"));
                plain.put_slice(text.as_bytes());
            }
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        let start = self.0.total_in();
        loop {
            let consumed = usize::try_from(self.0.total_in() - start).expect("no more than was given");
            self.0
                .compress_vec(&plain[consumed..], &mut out, FlushCompress::Sync)
                .expect("compressing into memory holds");
            if out.len() < out.capacity() {
                return out.into();
            }
            out.reserve(256);
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{Decoder, Encoder, find};

    #[test]
    fn blocks_of_one_direction_share_their_compression() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let first = encoder.encode(&[("streamtype", "stdin")]);
        let second = encoder.encode(&[("streamtype", "stdout"), ("port", "80")]);
        expect!["[78, bb, e3, c6, a7, c2]"].assert_eq(&format!("{:02x?}", &first[..6]));
        assert_eq!(decoder.decode(&first).expect("readable"), [("streamtype".to_owned(), "stdin".to_owned())]);
        let headers = decoder.decode(&second).expect("readable");
        assert_eq!(find(&headers, "StreamType"), Some("stdout"));
        assert_eq!(find(&headers, "port"), Some("80"));
    }

    #[test]
    fn an_empty_block_and_a_long_one() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let long = "0123456789abcdef".repeat(2000);
        assert!(decoder.decode(&encoder.encode(&[])).expect("readable").is_empty());
        let headers = decoder.decode(&encoder.encode(&[("x", &long)])).expect("readable");
        assert_eq!(find(&headers, "x"), Some(long.as_str()));
    }

    #[test]
    fn what_is_not_zlib_is_refused() {
        assert!(Decoder::default().decode(b"nonsense").is_err());
    }
}
