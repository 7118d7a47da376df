//! What pingora asks of a client's stream beside its bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::AsyncWriteExt;

use super::{ClientStream, PREFACE};
use crate::transport::Carrier;

#[async_trait]
impl<S: Carrier + Send + Sync> Peek for ClientStream<S> {
    /// Fills `buf` with what tells whether the connection is HTTP/2 (the rest stays as it was). Must not answer
    /// "cannot": pingora would take the connection for HTTP/2.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        // Known since its first request, where pingora has it for a second time.
        if self.peeked.is_empty() && self.turn.load(Ordering::Relaxed) == 0 {
            self.learn_protocol().await?;
        }
        let shown = if self.is_http2() { &PREFACE[..] } else { &self.peeked };
        let count = shown.len().min(buf.len());
        buf[..count].copy_from_slice(&shown[..count]);
        Ok(true)
    }
}

#[async_trait]
impl<S: Carrier + Send + Sync> Shutdown for ClientStream<S> {
    async fn shutdown(&mut self) {
        // The client may be gone already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl<S: Carrier> UniqueID for ClientStream<S> {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl<S: Carrier> Ssl for ClientStream<S> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.tls_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.alpn()
    }
}

impl<S: Carrier> GetTimingDigest for ClientStream<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl<S: Carrier> GetProxyDigest for ClientStream<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.connection.clone()
    }
}

impl<S: Carrier> GetSocketDigest for ClientStream<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket.clone()
    }
}
