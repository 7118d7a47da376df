//! A bare pass-through on pingora, as its own examples write one: one endpoint, no split, nothing measured, nothing
//! checked. What Tidegate's own work costs is measured against it (`cargo bench --bench overhead`).
//!
//! ```text
//! cargo run --release -p proxy --example passthrough -- 127.0.0.1:8081 127.0.0.1:9001
//! ```

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::modules::http::HttpModules;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::Result;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// The same as the executable's, so that the two are compared and not their allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct PassThrough(SocketAddr);

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // The default brings a compression module, which costs a little and does nothing here.
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

fn main() -> ExitCode {
    let addresses: Vec<SocketAddr> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [listen, upstream] = addresses[..] else {
        // Nobody is left to tell where standard error is closed.
        let _ = writeln!(io::stderr(), "usage: passthrough LISTEN UPSTREAM, each an address like 127.0.0.1:8081");
        return ExitCode::from(2);
    };
    let conf = ServerConf {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&Arc::clone(&server.configuration), PassThrough(upstream));
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever()
}
