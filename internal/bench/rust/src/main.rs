//! Opens and closes streams between two sessions of a crate in one process, and prints how fast, as the row "churn" of
//! internal/bench does with Go implementations.
//!
//!     peer CRATE THREADS STREAMS
//!
//! At most 512 streams are in flight: a stream is from when it is opened until the accepting end has closed it.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

const IN_FLIGHT: usize = 512;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let streams: usize = args[3].parse().expect("the number of streams");
    let work = async {
        match args[1].as_str() {
            "async_smux" => async_smux_pair(streams).await,
            "smux" => smux_pair(streams).await,
            other => panic!("no crate {other}"),
        }
    };
    let (seconds, cpu) = runtime(&args[2]).block_on(work);
    println!(
        "{{\"k/s\": {}, \"CPU us\": {}}}",
        streams as f64 / seconds / 1e3,
        cpu * 1e6 / streams as f64
    );
}

/// With one thread, everything runs on this one.
fn runtime(threads: &str) -> Runtime {
    match threads {
        "1" => Builder::new_current_thread().enable_all().build(),
        n => Builder::new_multi_thread()
            .worker_threads(n.parse().expect("the number of threads"))
            .enable_all()
            .build(),
    }
    .expect("a runtime")
}

async fn connections() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let addr = listener.local_addr().expect("an address");
    let dialed = TcpStream::connect(addr).await.expect("connect");
    let (accepted, _) = listener.accept().await.expect("accept");
    dialed.set_nodelay(true).expect("no delay");
    accepted.set_nodelay(true).expect("no delay");
    (dialed, accepted)
}

/// The seconds that the work took, and the CPU seconds of this process.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now(), cpu_seconds())
    }

    fn stop(self) -> (f64, f64) {
        (self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1)
    }
}

/// User and system time of all threads, where the system tells it, else 0.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0 // USER_HZ
}

async fn async_smux_pair(streams: usize) -> (f64, f64) {
    let (a, b) = connections().await;
    let (connector, _refuses, worker) = async_smux::MuxBuilder::client().with_connection(a).build();
    tokio::spawn(worker);
    let (_opens, mut acceptor, worker) = async_smux::MuxBuilder::server().with_connection(b).build();
    tokio::spawn(worker);

    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let closed = in_flight.clone();
    let clock = Clock::start();
    let accepting = tokio::spawn(async move {
        for _ in 0..streams {
            drop(acceptor.accept().await.expect("accept"));
            closed.add_permits(1);
        }
    });
    for _ in 0..streams {
        in_flight.acquire().await.expect("a permit").forget();
        drop(connector.connect().expect("open"));
    }
    accepting.await.expect("the accepting end");
    let _all = in_flight.acquire_many(IN_FLIGHT as u32).await.expect("all");
    clock.stop()
}

async fn smux_pair(streams: usize) -> (f64, f64) {
    let (a, b) = connections().await;
    let (client, server) = tokio::join!(
        smux::Session::client(a, smux::Config::default()),
        smux::Session::server(b, smux::Config::default())
    );
    let (client, server) = (client.expect("client"), server.expect("server"));

    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let closed = in_flight.clone();
    let clock = Clock::start();
    let accepting = tokio::spawn(async move {
        for _ in 0..streams {
            let mut stream = server.accept_stream().await.expect("accept");
            let _ = stream.close().await;
            closed.add_permits(1);
        }
    });
    for _ in 0..streams {
        in_flight.acquire().await.expect("a permit").forget();
        let mut stream = client.open_stream().await.expect("open");
        let _ = stream.close().await;
    }
    accepting.await.expect("the accepting end");
    let _all = in_flight.acquire_many(IN_FLIGHT as u32).await.expect("all");
    clock.stop()
}
