//! SPDY/3 frames as bytes: a pure parser and writer.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::streams::StreamError;

/// The sender will send no more on this stream.
pub const FLAG_FIN: u8 = 0x01;
/// The largest frame taken from a peer; the format allows 16 MiB, clients send far less.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
const HEADER_BYTES: usize = 8;
const VERSION: u16 = 3;

/// A frame; header blocks are still compressed, for they are part of one stream of compression a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a stream.
    Data { stream: u32, fin: bool, payload: Bytes },
    /// Opens a stream.
    SynStream { stream: u32, fin: bool, headers: Bytes },
    /// Accepts a stream.
    SynReply { stream: u32, fin: bool, headers: Bytes },
    /// Ends a stream at once.
    RstStream { stream: u32, status: u32 },
    /// Further headers of a stream.
    Headers { stream: u32, fin: bool, headers: Bytes },
    /// To be sent back as it is.
    Ping { id: u32 },
    /// No more streams after this.
    GoAway { last_stream: u32, status: u32 },
    /// Settings and window updates: the clients of this protocol send them, and none of them acts on them.
    Ignored { kind: u16 },
}

/// Takes one whole frame off the front of `buffer`; `None` until one is there.
pub fn parse(buffer: &mut BytesMut) -> Result<Option<Frame>, StreamError> {
    let Some(header) = buffer.get(..HEADER_BYTES) else { return Ok(None) };
    let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let flags = header[4];
    let length = usize::from(header[5]) << 16 | usize::from(header[6]) << 8 | usize::from(header[7]);
    if length > MAX_FRAME_BYTES {
        return Err(StreamError::protocol(format!("frame of {length} bytes")));
    }
    if buffer.len() < HEADER_BYTES + length {
        buffer.reserve(HEADER_BYTES + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    let payload = buffer.split_to(length).freeze();
    if first >> 31 == 0 {
        return Ok(Some(Frame::Data { stream: first, fin: flags & FLAG_FIN != 0, payload }));
    }
    let version = u16::try_from((first >> 16) & 0x7fff).expect("fifteen bits fit");
    if version != VERSION {
        return Err(StreamError::protocol(format!("SPDY version {version}")));
    }
    control(u16::try_from(first & 0xffff).expect("sixteen bits fit"), flags, payload).map(Some)
}

fn control(kind: u16, flags: u8, mut payload: Bytes) -> Result<Frame, StreamError> {
    let needed = match kind {
        1 => 10,
        2 | 6 | 8 => 4,
        3 | 7 => 8,
        _ => 0,
    };
    if payload.len() < needed {
        return Err(StreamError::protocol(format!("control frame {kind} of {} bytes", payload.len())));
    }
    let fin = flags & FLAG_FIN != 0;
    Ok(match kind {
        1 => {
            let stream = payload.get_u32() & 0x7fff_ffff;
            payload.advance(6);
            Frame::SynStream { stream, fin, headers: payload }
        }
        2 => Frame::SynReply { stream: payload.get_u32() & 0x7fff_ffff, fin, headers: payload },
        3 => Frame::RstStream { stream: payload.get_u32() & 0x7fff_ffff, status: payload.get_u32() },
        6 => Frame::Ping { id: payload.get_u32() },
        7 => Frame::GoAway { last_stream: payload.get_u32() & 0x7fff_ffff, status: payload.get_u32() },
        8 => Frame::Headers { stream: payload.get_u32() & 0x7fff_ffff, fin, headers: payload },
        kind => Frame::Ignored { kind },
    })
}

/// The header of a data frame; the payload follows it as it is.
pub fn data_header(stream: u32, fin: bool, length: usize) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = (stream & 0x7fff_ffff).to_be_bytes();
    let [_, e, f, g] = u32::try_from(length).expect("data frames are cut below 2^24 bytes").to_be_bytes();
    [a, b, c, d, if fin { FLAG_FIN } else { 0 }, e, f, g]
}

/// A frame's bytes.
pub fn encode(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    match frame {
        Frame::Data { stream, fin, payload } => {
            out.put_slice(&data_header(*stream, *fin, payload.len()));
            out.put_slice(payload);
        }
        Frame::SynStream { stream, fin, headers } => {
            put_control(&mut out, 1, *fin, 10 + headers.len());
            out.put_u32(*stream);
            out.put_u32(0);
            out.put_u16(0);
            out.put_slice(headers);
        }
        Frame::SynReply { stream, fin, headers } => put_with_headers(&mut out, 2, *stream, *fin, headers),
        Frame::Headers { stream, fin, headers } => put_with_headers(&mut out, 8, *stream, *fin, headers),
        Frame::RstStream { stream, status } => put_pair(&mut out, 3, *stream, *status),
        Frame::GoAway { last_stream, status } => put_pair(&mut out, 7, *last_stream, *status),
        Frame::Ping { id } => {
            put_control(&mut out, 6, false, 4);
            out.put_u32(*id);
        }
        Frame::Ignored { kind } => put_control(&mut out, *kind, false, 0),
    }
    out
}

fn put_with_headers(out: &mut BytesMut, kind: u16, stream: u32, fin: bool, headers: &Bytes) {
    put_control(out, kind, fin, 4 + headers.len());
    out.put_u32(stream);
    out.put_slice(headers);
}

fn put_pair(out: &mut BytesMut, kind: u16, first: u32, second: u32) {
    put_control(out, kind, false, 8);
    out.put_u32(first);
    out.put_u32(second);
}

fn put_control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    let length = u32::try_from(length).expect("header blocks are small");
    out.put_u32(u32::from(fin) << 24 | length);
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use expect_test::{Expect, expect};

    use super::{Frame, encode, parse};

    fn check(hex: &str, expected: Expect) {
        let bytes: Vec<u8> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect();
        let mut buffer = BytesMut::from(&bytes[..]);
        let parsed = parse(&mut buffer);
        expected.assert_eq(&format!("{parsed:?}, {} left", buffer.len()));
    }

    #[test]
    fn frames_are_taken_whole_or_not_at_all() {
        check("80 03 00 06 00 00 00", expect!["Ok(None), 7 left"]);
        check("80 03 00 06 00 00 00 04 00 00 00 07 ff", expect!["Ok(Some(Ping { id: 7 })), 1 left"]);
        check(
            "00 00 00 05 01 00 00 02 68 69",
            expect![[r#"Ok(Some(Data { stream: 5, fin: true, payload: b"hi" })), 0 left"#]],
        );
        check(
            "80 03 00 01 00 00 00 0b 00 00 00 03 00 00 00 00 00 00 aa",
            expect![[r#"Ok(Some(SynStream { stream: 3, fin: false, headers: b"\xaa" })), 0 left"#]],
        );
        check("80 03 00 09 00 00 00 08 00 00 00 01 00 00 10 00", expect!["Ok(Some(Ignored { kind: 9 })), 0 left"]);
    }

    #[test]
    fn broken_frames_are_refused() {
        check("80 02 00 06 00 00 00 04 00 00 00 07", expect![[r#"Err(Protocol("SPDY version 2")), 0 left"#]]);
        check("80 03 00 01 00 00 00 02 00 00", expect![[r#"Err(Protocol("control frame 1 of 2 bytes")), 0 left"#]]);
        check("00 00 00 05 00 ff ff ff", expect![[r#"Err(Protocol("frame of 16777215 bytes")), 8 left"#]]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let headers = Bytes::from_static(b"block");
        for frame in [
            Frame::Data { stream: 1, fin: false, payload: Bytes::from_static(b"x") },
            Frame::SynStream { stream: 3, fin: true, headers: headers.clone() },
            Frame::SynReply { stream: 3, fin: false, headers: headers.clone() },
            Frame::Headers { stream: 3, fin: false, headers },
            Frame::RstStream { stream: 9, status: 5 },
            Frame::GoAway { last_stream: 9, status: 0 },
            Frame::Ping { id: 2 },
        ] {
            let mut bytes = encode(&frame);
            assert_eq!(parse(&mut bytes).expect("a whole frame"), Some(frame));
            assert!(bytes.is_empty());
        }
    }
}
