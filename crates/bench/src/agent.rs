//! The answers of `tenancy agent` for gateways, against its `/healthz`. It is the real program.

use crate::Settings;
use crate::cache;
use crate::figure::median;
use crate::load::{Request, request, run};
use crate::report::Report;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Number of tenants.
const TENANTS: u64 = 1_000;
/// Maximum time for the start of the agent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures both routes.
pub async fn measure(settings: &Settings, report: &mut Report) {
    let program = program();
    if !program.is_file() {
        let shown = program.display();
        report.say(format!("agent: not measured, since {shown} does not exist: cargo build --release -p tenancy"));
        return;
    }
    let feed = cache::feed(TENANTS);
    let mut agent = Agent::start(&program, &feed.url());
    let (mut auths, mut answers, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        bare.push(agent.rate(settings.seconds, |_| "/healthz".to_owned()).await);
        auths.push(agent.rate(settings.seconds, |number| asked("/v1/access/auth", number)).await);
        answers.push(agent.rate(settings.seconds, |number| asked("/v1/access", number)).await);
    }
    agent.stop();
    let bare = median(bare);
    report.ratio("agent_auth_vs_healthz", median(auths), bare, 0.8, "per second");
    report.ratio("agent_access_vs_healthz", median(answers), bare, 0.8, "per second");
}

fn asked(path: &str, number: u64) -> String {
    format!("{path}?tenant=tenant-{}", number % TENANTS)
}

/// The program that was built beside this one.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    this.with_file_name("tenancy")
}

/// A running agent.
struct Agent {
    address: SocketAddr,
    child: Child,
    numbers: Arc<AtomicU64>,
}

impl Agent {
    fn start(program: &PathBuf, server: &str) -> Self {
        // The port is free when it is closed again; nobody else takes it at once.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let child = Command::new(program)
            .args(["agent", "--url", server, "--listen", &address.to_string(), "--no-snapshot"])
            .env("TENANCY_TOKEN", "tenancy_bench")
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut agent = Self { address, child, numbers: Arc::default() };
        let end = Instant::now() + PATIENCE;
        while !agent.is_ready() {
            assert!(agent.child.try_wait().expect("waited").is_none(), "the agent has ended");
            assert!(Instant::now() < end, "the agent is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        agent
    }

    fn is_ready(&self) -> bool {
        use std::io::{Read as _, Write as _};
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        let mut answer = String::new();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }

    async fn rate(&self, seconds: u64, path: impl Fn(u64) -> String + Send + Sync + 'static) -> f64 {
        let make: Request = Arc::new(move |number| request("GET", &path(number), "none", ""));
        run(self.address, 64, Duration::from_secs(seconds), 200, make, &self.numbers).await.per_second
    }

    fn stop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}
