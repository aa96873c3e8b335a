//! The framing of Git's wire protocol: four hexadecimal digits of length, then the content (gitprotocol-common).

use std::io::{self, Read, Write};

/// Longest content of one packet.
pub const LONGEST_CONTENT: usize = 65516;

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// `0000`.
    Flush,
    /// `0001`.
    Delimiter,
    /// `0002`.
    ResponseEnd,
    /// Content, a trailing newline included where there was one.
    Data(Vec<u8>),
}

impl Packet {
    /// The content as text without its trailing newline; None for the special packets.
    pub fn text(&self) -> io::Result<Option<&str>> {
        let Self::Data(content) = self else { return Ok(None) };
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        std::str::from_utf8(content).map(Some).map_err(|_| malformed("a line is not UTF-8"))
    }
}

/// An error that says the peer broke the protocol.
pub fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The next packet; None where the input ends between two packets.
pub fn read(input: &mut dyn Read) -> io::Result<Option<Packet>> {
    let mut head = [0; 4];
    if input.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut head[1..])?;
    let digits = std::str::from_utf8(&head).map_err(|_| malformed("a packet's length is not hexadecimal"))?;
    let length = usize::from_str_radix(digits, 16).map_err(|_| malformed("a packet's length is not hexadecimal"))?;
    match length {
        0 => Ok(Some(Packet::Flush)),
        1 => Ok(Some(Packet::Delimiter)),
        2 => Ok(Some(Packet::ResponseEnd)),
        3 => Err(malformed("a packet's length is 3")),
        _ if length - 4 > LONGEST_CONTENT => Err(malformed("a packet is too long")),
        _ => {
            let mut content = vec![0; length - 4];
            input.read_exact(&mut content)?;
            Ok(Some(Packet::Data(content)))
        }
    }
}

/// Writes one packet of `content`, which must not be longer than [`LONGEST_CONTENT`].
pub fn write(output: &mut dyn Write, content: &[u8]) -> io::Result<()> {
    debug_assert!(content.len() <= LONGEST_CONTENT, "callers split what is longer");
    write!(output, "{:04x}", content.len() + 4)?;
    output.write_all(content)
}

/// Writes `text` and a newline as one packet.
pub fn write_line(output: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(output, "{:04x}{text}", text.len() + 5)
}

/// Writes `0000`.
pub fn flush(output: &mut dyn Write) -> io::Result<()> {
    output.write_all(b"0000")
}

/// Writes `0001`.
pub fn delimiter(output: &mut dyn Write) -> io::Result<()> {
    output.write_all(b"0001")
}

/// Which stream a side-band packet belongs to. (The third, for fatal errors, is not needed: they go into the report.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Band {
    /// The pack or the report.
    Data = 1,
    /// What the client shows after `remote: `.
    Progress = 2,
}

/// Writes `content` on `band`, in as many packets as it takes.
pub fn write_band(output: &mut dyn Write, band: Band, content: &[u8]) -> io::Result<()> {
    for part in content.chunks(LONGEST_CONTENT - 1) {
        write!(output, "{:04x}", part.len() + 5)?;
        output.write_all(&[band as u8])?;
        output.write_all(part)?;
    }
    Ok(())
}

/// A writer that puts everything on the data band.
pub struct DataBand<W>(pub W);

impl<W: Write> Write for DataBand<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let part = &content[..content.len().min(LONGEST_CONTENT - 1)];
        write_band(&mut self.0, Band::Data, part)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{Band, read, write_band, write_line};

    fn check(input: &[u8], expected: expect_test::Expect) {
        let mut input = input;
        let mut out = String::new();
        loop {
            match read(&mut input) {
                Ok(None) => break,
                Ok(Some(packet)) => {
                    out += &format!("{packet:?} {:?}\n", packet.text().map_err(|error| error.to_string()))
                }
                Err(error) => {
                    out += &format!("error: {error}\n");
                    break;
                }
            }
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn packets() {
        check(
            b"0006a\n000000010002",
            expect![[r#"
                Data([97, 10]) Ok(Some("a"))
                Flush Ok(None)
                Delimiter Ok(None)
                ResponseEnd Ok(None)
            "#]],
        );
        check(
            b"0005\xff",
            expect![[r#"
            Data([255]) Err("a line is not UTF-8")
        "#]],
        );
        check(
            b"0003",
            expect![[r#"
            error: a packet's length is 3
        "#]],
        );
        check(
            b"zzzz",
            expect![[r#"
            error: a packet's length is not hexadecimal
        "#]],
        );
        check(
            b"fff5",
            expect![[r#"
            error: a packet is too long
        "#]],
        );
        check(
            b"0009ab",
            expect![[r#"
            error: failed to fill whole buffer
        "#]],
        );
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut out = Vec::new();
        write_line(&mut out, "hello").unwrap();
        write_band(&mut out, Band::Progress, b"hm\n").unwrap();
        expect![[r#"000ahello\n0008\u{2}hm\n"#]].assert_eq(&String::from_utf8(out).unwrap().escape_debug().to_string());
    }
}
