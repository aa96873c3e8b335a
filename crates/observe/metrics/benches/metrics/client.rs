//! As much HTTP as the measurement needs, so that the client costs little.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

pub struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

pub fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    escaped.collect()
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Sends a body of remote write, which must be taken in.
    pub fn write(&mut self, body: &[u8]) {
        let head = format!(
            "POST /api/v1/write HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-protobuf\r\n\
             Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (status, answer) = self.exchange(head.as_bytes(), body).unwrap();
        assert_eq!(status, 204, "{answer}");
    }

    pub fn post(&mut self, path: &str) -> String {
        let head = format!("POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n");
        let (status, answer) = self.exchange(head.as_bytes(), b"").unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub fn get(&mut self, path: &str) -> String {
        self.try_get(path).unwrap_or_else(|| panic!("no answer to {path}"))
    }

    pub fn try_get(&mut self, path: &str) -> Option<String> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        match self.exchange(head.as_bytes(), b"") {
            Ok((200, answer)) => Some(answer),
            _ => {
                self.stream = None;
                None
            }
        }
    }

    fn exchange(&mut self, head: &[u8], body: &[u8]) -> std::io::Result<(u16, String)> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::with_capacity(1 << 20, stream));
        }
        let stream = self.stream.as_mut().unwrap();
        stream.get_mut().write_all(head)?;
        stream.get_mut().write_all(body)?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            chunked |= header == "transfer-encoding: chunked";
        }
        let mut bytes = Vec::new();
        if chunked {
            loop {
                line.clear();
                stream.read_line(&mut line)?;
                let len = usize::from_str_radix(line.trim(), 16).unwrap();
                let from = bytes.len();
                bytes.resize(from + len, 0);
                stream.read_exact(&mut bytes[from..])?;
                line.clear();
                stream.read_line(&mut line)?;
                if len == 0 {
                    break;
                }
            }
        } else {
            bytes.resize(length, 0);
            stream.read_exact(&mut bytes)?;
        }
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }
}
