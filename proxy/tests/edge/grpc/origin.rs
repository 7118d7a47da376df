//! A gRPC server and its clients, by tonic, without generated code.
//!
//! The service `test.Shop` has a method of each kind. What they do is in the words of the request: `fail` fails, `hang`
//! never answers, anything else is repeated with the server's name before it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// A message with some words.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Words {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

/// A message of these words.
pub(crate) fn words(text: &str) -> Words {
    Words { text: text.to_owned() }
}

type Codec = ProstCodec<Words, Words>;
type Replies = Pin<Box<dyn Stream<Item = Result<Words, Status>> + Send>>;

/// A gRPC server on this machine, until it is dropped.
pub(crate) struct GrpcOrigin {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    serving: tokio::task::JoinHandle<()>,
}

/// What a server knows and does.
#[derive(Debug, Default)]
pub(crate) struct State {
    name: String,
    /// Calls that began.
    pub(crate) calls: AtomicU64,
    /// Calls that were let go before they ended.
    pub(crate) cancelled: AtomicU64,
    /// Calls fail from now on, in their trailers.
    pub(crate) is_broken: AtomicBool,
    /// The deadline that the last call came with, as it was written.
    pub(crate) deadline: std::sync::Mutex<Option<String>>,
}

impl GrpcOrigin {
    pub(crate) async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { name: name.to_owned(), ..State::default() });
        let service = Shop(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            let serve = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
            drop(serve.await);
        });
        Self { address, state, serving }
    }

    /// How many calls began.
    pub(crate) fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::SeqCst)
    }
}

impl Drop for GrpcOrigin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Counts a call that is let go before it ends.
struct Underway(Arc<State>, bool);

impl Underway {
    fn begin(state: &Arc<State>) -> Self {
        state.calls.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state), false)
    }

    /// What is said to these words.
    async fn reply(&self, to: &str) -> Result<Words, Status> {
        match to {
            "hang" => std::future::pending().await,
            "fail" => Err(Status::unavailable("as you wish")),
            "nothing here" => Err(Status::not_found("as you wish")),
            _ if self.0.is_broken.load(Ordering::SeqCst) => Err(Status::internal("broken")),
            text => Ok(words(&format!("{}: {text}", self.0.name))),
        }
    }

    fn end(&mut self) {
        self.1 = true;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[derive(Clone)]
struct Shop(Arc<State>);
#[derive(Clone)]
struct Say(Arc<State>);
#[derive(Clone)]
struct Count(Arc<State>);
#[derive(Clone)]
struct Join(Arc<State>);
#[derive(Clone)]
struct Talk(Arc<State>);

impl NamedService for Shop {
    const NAME: &'static str = "test.Shop";
}

impl Service<http::Request<tonic::body::Body>> for Shop {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let state = Arc::clone(&self.0);
        let deadline = request.headers().get("grpc-timeout").map(|text| text.to_str().unwrap().to_owned());
        *state.deadline.lock().unwrap() = deadline;
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Codec::default());
            Ok(match request.uri().path() {
                "/test.Shop/Say" => grpc.unary(Say(state), request).await,
                "/test.Shop/Count" => grpc.server_streaming(Count(state), request).await,
                "/test.Shop/Join" => grpc.client_streaming(Join(state), request).await,
                "/test.Shop/Talk" => grpc.streaming(Talk(state), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// A method: a service of tonic's, for this request and this response.
macro_rules! method {
    ($method:ty, $request:ty, $response:ty, |$state:ident, $asked:ident| $body:expr) => {
        impl Service<Request<$request>> for $method {
            type Response = Response<$response>;
            type Error = Status;
            type Future = BoxFuture<Self::Response, Status>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: Request<$request>) -> Self::Future {
                let ($state, $asked) = (Arc::clone(&self.0), request.into_inner());
                Box::pin(async move { $body })
            }
        }
    };
}

// One word in, one out; an error is all of the response, in its head.
method!(Say, Words, Words, |state, asked| {
    let mut call = Underway::begin(&state);
    let reply = call.reply(&asked.text).await;
    call.end();
    reply.map(Response::new)
});

// Three replies; an error comes in the trailers, after the first reply.
method!(Count, Words, Replies, |state, asked| {
    let (send, replies) = tokio::sync::mpsc::channel(1);
    drop(tokio::spawn(async move {
        let mut call = Underway::begin(&state);
        for place in 0..3 {
            let text = if place == 0 { "begin" } else { &asked.text };
            let reply = tokio::select! {
                reply = call.reply(text) => reply,
                () = send.closed() => return,
            };
            let is_over = reply.is_err();
            if send.send(reply).await.is_err() {
                return;
            }
            if is_over {
                break;
            }
        }
        call.end();
    }));
    let replies: Replies = Box::pin(ReceiverStream::new(replies));
    Ok(Response::new(replies))
});

// Many words in, one message of all of them out.
method!(Join, Streaming<Words>, Words, |state, asked| {
    let mut call = Underway::begin(&state);
    let mut asked = asked;
    let mut all = Vec::new();
    while let Some(more) = asked.message().await? {
        all.push(more.text);
    }
    let reply = call.reply(&all.join(" ")).await;
    call.end();
    reply.map(Response::new)
});

// A reply to each word as it comes.
method!(Talk, Streaming<Words>, Replies, |state, asked| {
    let (send, replies) = tokio::sync::mpsc::channel(1);
    drop(tokio::spawn(async move {
        let mut call = Underway::begin(&state);
        let mut asked = asked;
        while let Some(Ok(more)) = asked.next().await {
            let reply = call.reply(&more.text).await;
            let is_over = reply.is_err();
            if send.send(reply).await.is_err() || is_over {
                break;
            }
        }
        call.end();
    }));
    let replies: Replies = Box::pin(ReceiverStream::new(replies));
    Ok(Response::new(replies))
});

/// A client of the service.
#[derive(Clone)]
pub(crate) struct Client(tonic::client::Grpc<Channel>);

impl Client {
    /// A client that connects when it first calls.
    pub(crate) fn to(address: SocketAddr) -> Self {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self(tonic::client::Grpc::new(channel))
    }

    async fn ready(&mut self) {
        self.0.ready().await.unwrap();
    }

    pub(crate) async fn say(&mut self, request: impl tonic::IntoRequest<Words>) -> Result<Words, Status> {
        self.ready().await;
        let path = http::uri::PathAndQuery::from_static("/test.Shop/Say");
        self.0.unary(request.into_request(), path, Codec::default()).await.map(Response::into_inner)
    }

    pub(crate) async fn count(&mut self, request: impl tonic::IntoRequest<Words>) -> Result<Streaming<Words>, Status> {
        self.ready().await;
        let path = http::uri::PathAndQuery::from_static("/test.Shop/Count");
        self.0.server_streaming(request.into_request(), path, Codec::default()).await.map(Response::into_inner)
    }

    pub(crate) async fn join(&mut self, all: &[&str]) -> Result<Words, Status> {
        self.ready().await;
        let path = http::uri::PathAndQuery::from_static("/test.Shop/Join");
        let all: Vec<_> = all.iter().map(|text| words(text)).collect();
        let request = Request::new(tokio_stream::iter(all));
        self.0.client_streaming(request, path, Codec::default()).await.map(Response::into_inner)
    }

    pub(crate) async fn talk(
        &mut self,
        all: impl Stream<Item = Words> + Send + 'static,
    ) -> Result<Streaming<Words>, Status> {
        self.ready().await;
        let path = http::uri::PathAndQuery::from_static("/test.Shop/Talk");
        self.0.streaming(Request::new(all), path, Codec::default()).await.map(Response::into_inner)
    }
}
