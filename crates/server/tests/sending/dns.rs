//! A DNS server whose answers change, and a resolver that asks it.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tenancy_server::webhooks::sending::resolver::{Addresses, Lookup};
use tokio::net::UdpSocket;

/// Length of the header of a message.
const HEADER_BYTES: usize = 12;

/// A DNS server on UDP that answers every question for IPv4 addresses with the next list of addresses, and repeats the
/// last one.
pub struct Server {
    pub address: SocketAddr,
    pub questions: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(answers: Vec<Vec<Ipv4Addr>>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let questions = Arc::new(AtomicUsize::new(0));
        let (asked, answers) = (Arc::clone(&questions), Mutex::new(answers));
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question).await {
                asked.fetch_add(1, Ordering::SeqCst);
                let next = {
                    let mut answers = answers.lock().expect("not poisoned");
                    if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
                };
                let _ = socket.send_to(&answer(&question[..length], &next), client).await;
            }
        });
        Self { address, questions }
    }

    pub fn resolver(&self) -> Arc<dyn Lookup> {
        Arc::new(Resolver { server: self.address })
    }
}

/// Repeats the question, and adds a record with a time to live of 0 for each address.
fn answer(question: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[7] = u8::try_from(addresses.len()).expect("few");
    for address in addresses {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend_from_slice(&address.octets());
    }
    answer
}

/// Asks a server for the IPv4 addresses of a name.
struct Resolver {
    server: SocketAddr,
}

impl Lookup for Resolver {
    fn lookup(&self, name: &str) -> BoxFuture<'_, Addresses> {
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).expect("short"));
            question.extend_from_slice(label.as_bytes());
        }
        question.extend_from_slice(&[0, 0, 1, 0, 1]);
        async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
            socket.send_to(&question, self.server).await.map_err(|error| error.to_string())?;
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).await.map_err(|error| error.to_string())?;
            assert!(length > HEADER_BYTES && answer[..2] == question[..2], "an answer to the question");
            let records = answer[question.len()..length].chunks_exact(16);
            Ok(records.map(|record| IpAddr::from(<[u8; 4]>::try_from(&record[12..]).expect("four"))).collect())
        }
        .boxed()
    }
}
