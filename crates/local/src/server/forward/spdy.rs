//! Frames of SPDY/3.1, as far as port-forward needs them.
//!
//! No window is kept: the only peer is Kubernetes' own client, which neither keeps nor heeds one.
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>

use std::{collections::HashMap, io};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio_util::codec::Decoder;

/// Largest payload that is taken of a peer; its data comes in pieces of 32 KiB.
const LARGEST_FRAME: usize = 1 << 20;
/// Largest block of headers, unpacked.
const LARGEST_HEADERS: usize = 64 << 10;
const HEAD: usize = 8;
const VERSION: u16 = 3;
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Why a stream is ended at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    ProtocolError = 1,
    InvalidStream = 2,
    Refused = 3,
}

/// Header names (lower case) and values.
pub(super) type HeaderBlock = HashMap<String, String>;

/// What a peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Open {
        id: u32,
        headers: HeaderBlock,
        fin: bool,
    },
    Data {
        id: u32,
        bytes: Bytes,
        fin: bool,
    },
    Reset {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Settings, windows, headers that come later: read and not heeded.
    Other,
}

/// Reads frames; the headers of a connection are one zlib stream.
#[derive(Debug)]
pub(super) struct Frames {
    inflate: Decompress,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new(true) }
    }

    fn headers(&mut self, mut packed: &[u8]) -> io::Result<HeaderBlock> {
        let mut text = Vec::with_capacity(1024);
        while !packed.is_empty() {
            if text.len() == text.capacity() {
                text.reserve(text.capacity());
            }
            if text.len() > LARGEST_HEADERS {
                return Err(invalid(format!("headers of more than {LARGEST_HEADERS} bytes")));
            }
            let before = (self.inflate.total_in(), text.len());
            let done = self.inflate.decompress_vec(packed, &mut text, FlushDecompress::Sync);
            let read = (self.inflate.total_in() - before.0) as usize;
            packed = packed.get(read..).unwrap_or_default();
            match done {
                Ok(_) if read == 0 && text.len() == before.1 && text.len() < text.capacity() => {
                    return Err(invalid("headers that do not unpack"));
                }
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&dictionary()).map_err(invalid)?;
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        parse_headers(&text).ok_or_else(|| invalid("a block of headers that is cut"))
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> io::Result<Frame> {
        let fin = flags & FIN != 0;
        let short = || invalid(format!("a frame of type {kind} that is cut"));
        let number = |body: &mut Bytes| body.try_get_u32().map(|n| n & 0x7fff_ffff).map_err(|_| short());
        match kind {
            SYN_STREAM => {
                let id = number(&mut body)?;
                number(&mut body)?;
                body.try_get_u16().map_err(|_| short())?;
                Ok(Frame::Open { id, headers: self.headers(&body)?, fin })
            }
            SYN_REPLY | HEADERS => {
                number(&mut body)?;
                // The zlib stream goes on through them.
                self.headers(&body)?;
                Ok(Frame::Other)
            }
            RST_STREAM => Ok(Frame::Reset { id: number(&mut body)? }),
            PING => Ok(Frame::Ping { id: body.try_get_u32().map_err(|_| short())? }),
            GOAWAY => Ok(Frame::GoAway),
            _ => Ok(Frame::Other),
        }
    }
}

impl Decoder for Frames {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<Frame>> {
        let Some(head) = source.first_chunk::<HEAD>() else { return Ok(None) };
        let mut fields = &head[..];
        let (first, last) = (fields.get_u32(), fields.get_u32());
        let (flags, length) = ((last >> 24) as u8, (last & 0x00ff_ffff) as usize);
        if length > LARGEST_FRAME {
            return Err(invalid(format!("a frame of {length} bytes; the limit is {LARGEST_FRAME}")));
        }
        if source.len() < HEAD + length {
            source.reserve(HEAD + length - source.len());
            return Ok(None);
        }
        source.advance(HEAD);
        let body = source.split_to(length).freeze();
        if first >> 31 == 0 {
            return Ok(Some(Frame::Data { id: first, bytes: body, fin: flags & FIN != 0 }));
        }
        let (version, kind) = ((first >> 16) as u16 & 0x7fff, first as u16);
        if version != VERSION {
            return Err(invalid(format!("SPDY version {version}; this is version {VERSION}")));
        }
        self.control(kind, flags, body).map(Some)
    }
}

/// Writes frames; the headers of a connection are one zlib stream, so that replies must be sent in the order in which
/// they are made.
#[derive(Debug)]
pub(super) struct Replies {
    deflate: Compress,
}

impl Replies {
    pub(super) fn new() -> io::Result<Self> {
        let mut deflate = Compress::new(Compression::default(), true);
        deflate.set_dictionary(&dictionary()).map_err(invalid)?;
        Ok(Self { deflate })
    }

    /// Accepts a stream, without headers.
    pub(super) fn accept(&mut self, id: u32) -> io::Result<Bytes> {
        let mut packed = Vec::with_capacity(64);
        self.deflate.compress_vec(&0_u32.to_be_bytes(), &mut packed, FlushCompress::Sync).map_err(invalid)?;
        let mut body = Vec::with_capacity(4 + packed.len());
        body.put_u32(id);
        body.extend_from_slice(&packed);
        Ok(control(SYN_REPLY, &body))
    }
}

/// A piece of data, the last one of its stream with `fin`.
pub(super) fn data(id: u32, bytes: &[u8], fin: bool) -> Bytes {
    frame(id, u8::from(fin) * FIN, bytes)
}

/// Ends a stream at once.
pub(super) fn reset(id: u32, why: Reset) -> Bytes {
    let mut body = [0; 8];
    body[..4].copy_from_slice(&id.to_be_bytes());
    body[4..].copy_from_slice(&(why as u32).to_be_bytes());
    control(RST_STREAM, &body)
}

/// The answer to a ping: the same.
pub(super) fn ping(id: u32) -> Bytes {
    control(PING, &id.to_be_bytes())
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    frame(1 << 31 | u32::from(VERSION) << 16 | u32::from(kind), 0, body)
}

fn frame(first: u32, flags: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + body.len());
    out.put_u32(first);
    out.put_u32(u32::from(flags) << 24 | body.len() as u32);
    out.put_slice(body);
    out.freeze()
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn parse_headers(mut block: &[u8]) -> Option<HeaderBlock> {
    let count = block.try_get_u32().ok()?;
    let mut text = || {
        let length = block.try_get_u32().ok()? as usize;
        let (text, rest) = block.split_at_checked(length)?;
        block = rest;
        String::from_utf8(text.to_vec()).ok()
    };
    (0..count).map(|_| Some((text()?.to_ascii_lowercase(), text()?))).collect()
}

/// Names, each with its length before it, that the zlib stream may refer to from its start.
const NAMES: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
/// The rest of the dictionary, as it is.
const VALUES: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
    Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
    Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
    application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,\
    utf-,*,enq=0.";

/// The dictionary of the protocol's section 2.6.10.1.
fn dictionary() -> Vec<u8> {
    let mut out = Vec::with_capacity(1423);
    for name in NAMES.split(' ') {
        let name = name.replace('_', " ");
        out.put_u32(name.len() as u32);
        out.put_slice(name.as_bytes());
    }
    out.put_slice(VALUES.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn open(deflate: &mut Compress, id: u32, headers: &[(&str, &str)]) -> Bytes {
        let mut block = Vec::new();
        block.put_u32(headers.len() as u32);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.put_u32(text.len() as u32);
            block.put_slice(text.as_bytes());
        }
        let mut packed = Vec::with_capacity(block.len() + 256);
        deflate.compress_vec(&block, &mut packed, FlushCompress::Sync).unwrap();
        let mut body = id.to_be_bytes().to_vec();
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(&packed);
        control(SYN_STREAM, &body)
    }

    fn peer() -> Compress {
        let mut deflate = Compress::new(Compression::best(), true);
        deflate.set_dictionary(&dictionary()).unwrap();
        deflate
    }

    #[test]
    fn the_dictionary_is_the_one_that_peers_have() {
        let adler = Compress::new(Compression::default(), true).set_dictionary(&dictionary()).unwrap();
        assert_eq!((dictionary().len(), adler), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut deflate = peer();
        let mut wire = BytesMut::new();
        for (id, port) in [(1, "80"), (3, "8080")] {
            wire.extend_from_slice(&open(&mut deflate, id, &[("Streamtype", "data"), ("port", port)]));
        }
        wire.extend_from_slice(&data(3, b"hello", true));
        wire.extend_from_slice(&ping(7));
        wire.extend_from_slice(&reset(1, Reset::Refused));
        let (mut frames, mut arrived, mut seen) = (Frames::new(), BytesMut::new(), Vec::new());
        for byte in wire {
            arrived.put_u8(byte);
            seen.extend(frames.decode(&mut arrived).unwrap());
        }
        let opened = |id, port: &str| Frame::Open {
            id,
            headers: [("streamtype".to_owned(), "data".to_owned()), ("port".to_owned(), port.to_owned())].into(),
            fin: false,
        };
        let hello = Frame::Data { id: 3, bytes: Bytes::from_static(b"hello"), fin: true };
        assert_eq!(seen, [opened(1, "80"), opened(3, "8080"), hello, Frame::Ping { id: 7 }, Frame::Reset { id: 1 }]);
    }

    #[test]
    fn replies_unpack_by_the_same_dictionary() {
        let (mut replies, mut frames) = (Replies::new().unwrap(), Frames::new());
        for id in [1, 3, 5] {
            let mut wire = BytesMut::from(&replies.accept(id).unwrap()[..]);
            assert_eq!(frames.decode(&mut wire).unwrap(), Some(Frame::Other), "headers that unpack");
            assert!(wire.is_empty());
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let huge = frame(1, 0, &vec![0; LARGEST_FRAME + 1]);
        let other_version = frame(1 << 31 | 2 << 16 | u32::from(PING), 0, &[0; 4]);
        let cut = control(RST_STREAM, &[0; 2]);
        let garbage = control(SYN_STREAM, &[0xff; 40]);
        let bomb = open(&mut peer(), 1, &[("bomb", &"x".repeat(2 * LARGEST_HEADERS))]);
        for wrong in [huge, other_version, cut, garbage, bomb] {
            let error = Frames::new().decode(&mut BytesMut::from(&wrong[..])).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }
}
