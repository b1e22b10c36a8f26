//! A client's socket, of which the first bytes may have been looked at already.

use std::{
    io,
    net::TcpStream as StdStream,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A socket whose bytes can be looked at before they are read.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// What was looked at and not read yet.
    ahead: BytesMut,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
        }
    }

    /// What is known of what comes next.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Waits for more to look at, up to `limit` bytes in all. Says whether any came: none does after the end.
    pub(crate) async fn look_further(&mut self, limit: usize) -> io::Result<bool> {
        let mut rest = vec![0; limit.saturating_sub(self.ahead.len())];
        let read = self.stream.read(&mut rest).await?;
        self.ahead.extend_from_slice(&rest[..read]);
        Ok(read > 0)
    }

    /// Takes the next `number` bytes out, which must have been looked at.
    pub(crate) fn skip(&mut self, number: usize) {
        self.ahead.advance(number);
    }

    /// Whether something has come that the runtime has not heard of yet. A look costs three system calls and is only
    /// for connections that are about to be closed.
    pub(crate) fn has_more(&self) -> bool {
        let looked = self.stream.as_fd().try_clone_to_owned();
        let looked = looked.and_then(|socket| StdStream::from(socket).peek(&mut [0]));
        !self.ahead.is_empty() || looked.is_ok_and(|bytes| bytes > 0)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let number = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..number]);
        self.ahead.advance(number);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
