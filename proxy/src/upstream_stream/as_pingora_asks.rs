//! What pingora asks of an endpoint's stream beside its bytes: it is told nothing that it does not need.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::AsyncWriteExt;

use super::UpstreamStream;

impl Peek for UpstreamStream {}

impl Ssl for UpstreamStream {}

#[async_trait]
impl Shutdown for UpstreamStream {
    async fn shutdown(&mut self) {
        // The endpoint may have ended it already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for UpstreamStream {
    fn id(&self) -> UniqueIDType {
        self.link.fd().unwrap_or(-1)
    }
}

impl GetTimingDigest for UpstreamStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for UpstreamStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for UpstreamStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
