//! Several processes use one directory of keys; some are killed with SIGKILL in the middle of their work.
//!
//! The other processes are this test program itself, started again with [`WORK`] in its environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use tenancy_vault::directory::Directory;
use tenancy_vault::{KeyError, KeyName, KeyService};

/// Path of the directory, name of the process, and number of rounds, for a process that works.
const WORK: &str = "TENANCY_VAULT_WORK";
const KEYS_OF_A_ROUND: usize = 8;

/// Does nothing in a normal run. In a process that [`start`] starts, it creates and destroys keys, and reports each answer.
#[tokio::test(flavor = "multi_thread")]
async fn worker() {
    let Ok(work) = std::env::var(WORK) else { return };
    let [path, process, rounds] = work.split('|').collect::<Vec<_>>()[..] else { panic!("{work}") };
    let directory = Directory::open(Path::new(path)).unwrap();
    for round in 0..rounds.parse::<usize>().unwrap() {
        let name = |number| KeyName::parse(&format!("tenant-{process}-{round}-{number}")).unwrap();
        let names: Vec<_> = (0..KEYS_OF_A_ROUND).map(name).collect();
        let (directory, created) = (&directory, names.iter().cloned());
        join_all(created.map(|name| async move {
            directory.create(vec![name.clone()]).await.unwrap();
            let wrapped = directory.wrap(&name, b"data key".to_vec(), Vec::new()).await.unwrap();
            say(&format!("created {name} {}", STANDARD.encode(wrapped)));
        }))
        .await;
        // The half of the keys goes again; some are destroyed one by one, some together.
        let (single, together) = names[..KEYS_OF_A_ROUND / 2].split_at(1);
        for names in [single, together] {
            names.iter().for_each(|name| say(&format!("destroying {name} -")));
            directory.destroy(names.to_vec()).await.unwrap();
            names.iter().for_each(|name| say(&format!("destroyed {name} -")));
        }
    }
    say("done - -");
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@ {line}").unwrap();
    out.flush().unwrap();
}

fn start(path: &Path, process: &str, rounds: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--nocapture", "--test-threads=1"])
        .env(WORK, format!("{}|{process}|{rounds}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What processes said: the last word on each key, and its wrapped form.
#[derive(Default)]
struct Said {
    wrapped: HashMap<String, Vec<u8>>,
    last: HashMap<String, String>,
    are_done: usize,
}

impl Said {
    /// Reads what a process says until it ends; after `answers` lines, kills it.
    fn listen(&mut self, mut child: Child, answers: usize) {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        while let Some(Ok(line)) = lines.next() {
            let Some(line) = line.split_once("@ ").map(|(_, line)| line.to_owned()) else { continue };
            // The process may be killed within a line.
            let [what, name, wrapped] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
            if what == "done" {
                self.are_done += 1;
                continue;
            }
            if what == "created" {
                let Ok(wrapped) = STANDARD.decode(wrapped) else { continue };
                self.wrapped.insert(name.to_owned(), wrapped);
            }
            self.last.insert(name.to_owned(), what.to_owned());
            heard += 1;
            if heard == answers {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
    }

    /// Proves that what was answered holds, as a new process sees it.
    async fn must_hold(&self, path: &Path) {
        let directory = Directory::open(path).unwrap();
        for (text, what) in &self.last {
            let name = KeyName::parse(text).unwrap();
            let found = directory.unwrap(&name, self.wrapped[text].clone(), Vec::new()).await;
            match (what.as_str(), found) {
                ("created", Ok(plain)) => assert_eq!(plain, b"data key"),
                ("destroyed", Err(KeyError::Missing(_))) | ("destroying", Ok(_) | Err(KeyError::Missing(_))) => {}
                (_, found) => panic!("{name} was {what}, but: {found:?}"),
            }
        }
    }

    fn count(&self, what: &str) -> usize {
        self.last.values().filter(|last| *last == what).count()
    }
}

fn keys() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keys");
    Directory::create(&path).unwrap();
    (place, path)
}

#[tokio::test]
async fn must_lose_nothing_that_was_answered_when_a_writer_is_killed() {
    let (_place, path) = keys();
    let mut said = Said::default();
    let begun = Instant::now();
    // Processes are killed after 1, 8, 15, … answers: within creations and within destructions.
    for run in 0..12 {
        said.listen(start(&path, &format!("run{run}"), usize::MAX), 1 + 7 * run);
        assert!(begun.elapsed() < Duration::from_secs(150), "{run} runs");
        said.must_hold(&path).await;
    }
    assert!(said.count("created") > 50 && said.count("destroyed") > 20, "{:?}", said.last);
    // A destruction that was cut off is finished by its repetition, and leaves nothing.
    let cut_off: Vec<_> = said.last.iter().filter(|(_, last)| *last == "destroying").map(|(name, _)| name).collect();
    let names: Vec<_> = cut_off.iter().map(|name| KeyName::parse(name).unwrap()).collect();
    Directory::open(&path).unwrap().destroy(names).await.unwrap();
    let gone = said.last.iter().filter(|(_, last)| *last != "created").map(|(name, _)| name);
    for file in fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()) {
        assert!(!file.ends_with("rewritten.tmp"), "an unfinished file is left");
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        for name in gone.clone() {
            assert!(!text.contains(&format!("key {name} ")), "{name} is in {}", file.display());
        }
    }
}

#[tokio::test]
async fn must_let_processes_create_and_destroy_at_the_same_time() {
    const PROCESSES: usize = 3;
    const ROUNDS: usize = 25;
    let (_place, path) = keys();
    let children: Vec<_> = (0..PROCESSES).map(|number| start(&path, &format!("process{number}"), ROUNDS)).collect();
    let mut said = Said::default();
    for child in children {
        said.listen(child, usize::MAX);
    }
    assert_eq!(said.are_done, PROCESSES, "a process had an error");
    said.must_hold(&path).await;
    let each = PROCESSES * ROUNDS * KEYS_OF_A_ROUND / 2;
    assert_eq!((said.count("created"), said.count("destroyed")), (each, each));
}
