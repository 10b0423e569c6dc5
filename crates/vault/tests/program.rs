//! Keys behind a program: the documented example, and programs that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use futures_util::future::join_all;
use tenancy_vault::program::Program;
use tenancy_vault::{KeyError, KeyName, KeyService, Vault};

const TIME_LIMIT: Duration = Duration::from_secs(20);

fn example(keys: &Path) -> Program {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/key-program");
    let command = ["python3", script, keys.to_str().unwrap()];
    Program::new(command.map(str::to_owned).to_vec(), TIME_LIMIT).unwrap()
}

/// A program of a few lines. `request` is what it was asked; `answer(…)` writes an answer.
fn python(program: &str, time_limit: Duration) -> Program {
    let head = "import json, os, sys, time\n\
        def answer(**fields): print(json.dumps(fields), flush=True)\n\
        def requests():\n  for line in sys.stdin: yield json.loads(line)\n";
    let command = ["python3".to_owned(), "-c".to_owned(), format!("{head}{program}")];
    Program::new(command.to_vec(), time_limit).unwrap()
}

fn keys() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keys.json");
    (place, path)
}

fn unavailable<T>(done: Result<T, KeyError>) -> String {
    match done {
        Err(KeyError::Unavailable(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was accepted"),
    }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

#[tokio::test]
async fn must_do_with_the_example_program_what_it_does_with_a_directory() {
    let (_place, path) = keys();
    let (here, there) = (Vault::new(Arc::new(example(&path)), 100), Vault::new(Arc::new(example(&path)), 100));
    let identity = here.service().identity().await.unwrap();
    assert_eq!(there.service().identity().await.unwrap(), identity);
    for of_its_own in [false, true] {
        let (wrapped, key) = here.create("acme", of_its_own).await.unwrap();
        let text = key.seal("row", b"secret");
        assert_eq!(there.open(&wrapped).await.unwrap().open("row", &text).unwrap(), b"secret");
        let stolen = tenancy_vault::WrappedKey { tenant_id: "other".to_owned(), ..wrapped.clone() };
        let refused = there.open(&stolen).await.unwrap_err();
        assert!(matches!(&refused, KeyError::Refused(why) if why.contains("another tenant")), "{refused:?}");
        there.forget("acme");
        if of_its_own {
            here.destroy(&wrapped.wrapping_key).await.unwrap();
            here.destroy(&wrapped.wrapping_key).await.unwrap();
            assert_eq!(there.open(&wrapped).await.unwrap_err(), KeyError::Missing(wrapped.wrapping_key));
        } else {
            assert_eq!(here.rotate().await.unwrap(), KeyName::shared(2));
            let new = here.rewrap(&wrapped).await.unwrap().unwrap();
            here.destroy(&wrapped.wrapping_key).await.unwrap();
            assert_eq!(there.open(&new).await.unwrap().open("row", &text).unwrap(), b"secret");
        }
    }
}

#[tokio::test]
async fn must_verify_what_the_example_program_signs() {
    let (_place, path) = keys();
    let program = example(&path);
    let key = name("statements-1");
    program.create(vec![key.clone()]).await.unwrap();
    let public = program.public_key(&key).await.unwrap();
    for message in [&b""[..], b"message"] {
        let signature = program.sign(&key, message.to_vec()).await.unwrap();
        UnparsedPublicKey::new(&ED25519, &public).verify(message, &signature).unwrap();
    }
}

#[tokio::test]
async fn must_give_every_caller_its_own_answer_in_any_order() {
    let program = python(
        "waiting = []\n\
         for request in requests():\n  waiting.append(request)\n  \
           if len(waiting) == 50:\n    for request in reversed(waiting): answer(id=request['id'], plain=request['wrapped'])",
        TIME_LIMIT,
    );
    let shared = KeyName::shared(1);
    let ask = |number: u8| program.unwrap(&shared, vec![number; 8], Vec::new());
    for (number, answer) in (0..50).zip(join_all((0..50).map(ask)).await) {
        assert_eq!(answer.unwrap(), vec![number; 8]);
    }
}

#[tokio::test]
async fn must_start_a_program_again_that_ended_and_repeat_the_request() {
    let (_place, path) = keys();
    // Each process answers one request, and ends at the next one without an answer.
    let program = python(
        &format!(
            "open({path:?}, 'a').write('started\\n')\n\
             for number, request in enumerate(requests()):\n  \
               if number == 1: sys.exit(3)\n  \
               answer(id=request['id'], identity=str(os.getpid()))"
        ),
        TIME_LIMIT,
    );
    let mut seen = std::collections::HashSet::new();
    for _ in 0..5 {
        seen.insert(program.identity().await.unwrap());
    }
    assert_eq!(seen.len(), 5, "each answer is of another process");
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 5);
}

#[tokio::test]
async fn must_start_a_program_again_that_was_killed() {
    let program = python("for request in requests(): answer(id=request['id'], identity=str(os.getpid()))", TIME_LIMIT);
    let first = program.identity().await.unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &first]).status().unwrap().success());
    assert_ne!(program.identity().await.unwrap(), first);
}

#[tokio::test]
async fn must_say_why_a_program_ends_at_each_start_and_start_it_more_and_more_seldom() {
    let (_place, path) = keys();
    let program = python(
        &format!("open({path:?}, 'a').write('started\\n')\nsys.stderr.write('no credentials\\n')\nsys.exit(7)"),
        Duration::from_secs(4),
    );
    let why = unavailable(program.identity().await);
    assert!(why.contains("exit status: 7") && why.contains("no credentials") && why.contains("python3"), "{why}");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let why = unavailable(program.identity().await);
        assert!(why.contains("exit status: 7"), "{why}");
    }
    let starts = std::fs::read_to_string(&path).unwrap().lines().count();
    assert!((3..=10).contains(&starts), "{starts} starts");
}

#[tokio::test]
async fn must_say_that_a_program_does_not_exist() {
    let program = Program::new(vec!["/nowhere/key-program".to_owned()], TIME_LIMIT).unwrap();
    let why = unavailable(program.identity().await);
    assert!(why.contains("/nowhere/key-program") && why.contains("Check its path"), "{why}");
    for command in [vec![], vec![String::new()]] {
        assert!(matches!(Program::new(command, TIME_LIMIT), Err(KeyError::Refused(_))));
    }
}

#[tokio::test]
async fn must_stop_a_program_that_is_silent_and_start_it_again() {
    let (_place, path) = keys();
    let program = python(
        &format!(
            "first = not os.path.exists({path:?})\nopen({path:?}, 'a').write('started\\n')\n\
             if first: time.sleep(1000)\n\
             for request in requests(): answer(id=request['id'], identity='second')"
        ),
        Duration::from_secs(2),
    );
    let why = unavailable(program.identity().await);
    assert!(why.contains("did not answer within 2000 ms"), "{why}");
    assert_eq!(program.identity().await.unwrap(), "second");
}

#[tokio::test]
async fn must_not_stop_a_program_for_one_slow_answer() {
    let program = python(
        "for request in requests():\n  \
           if request['op'] != 'sign': answer(id=request['id'], identity=str(os.getpid()))",
        Duration::from_secs(2),
    );
    let first = program.identity().await.unwrap();
    let shared = KeyName::shared(1);
    let slow = program.sign(&shared, Vec::new());
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        program.identity().await.unwrap()
    };
    let (slow, other) = tokio::join!(slow, others);
    assert!(unavailable(slow).contains("did not answer within 2000 ms"));
    assert_eq!((other, program.identity().await.unwrap()), (first.clone(), first));
}

#[tokio::test]
async fn must_stop_a_program_that_breaks_the_protocol_and_never_show_what_it_wrote() {
    for (program, cause) in [
        ("print('secret-text', flush=True); time.sleep(1000)", "no JSON object with an `id`"),
        ("print('[]', flush=True); time.sleep(1000)", "no JSON object with an `id`"),
        ("print('{\"identity\": \"secret-text\"}', flush=True); time.sleep(1000)", "no JSON object with an `id`"),
        ("print('secret-text' * 100000, flush=True); time.sleep(1000)", "too long"),
    ] {
        let why = unavailable(python(program, TIME_LIMIT).identity().await);
        assert!(why.contains(cause) && !why.contains("secret-text"), "{why}");
    }
}

#[tokio::test]
async fn must_read_all_of_an_endless_error_output_and_keep_little_of_it() {
    // A program that is not read stops. Bytes that are no text must not end the reading.
    let program = python(
        "sys.stderr.buffer.write(b'\\xff no text\\n'); sys.stderr.flush()\n\
         for request in requests():\n  \
           for _ in range(64): sys.stderr.write('x' * (1 << 20))\n  \
           sys.stderr.flush()\n  \
           if request['op'] == 'sign': sys.exit(3)\n  \
           answer(id=request['id'], identity='here')",
        TIME_LIMIT,
    );
    let before = memory();
    assert_eq!(program.identity().await.unwrap(), "here");
    let grown = memory().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more in memory after a line of 64 MiB");
    let why = unavailable(program.sign(&KeyName::shared(1), Vec::new()).await);
    assert!(why.contains("exit status: 3") && why.contains(&"x".repeat(500)) && why.len() < 1000, "{}", why.len());
}

/// Returns the most memory that this process has used.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn must_name_the_field_that_an_answer_lacks() {
    for (fields, is_good) in [
        ("", false),
        ("wrapped=''", false),
        ("wrapped='not base64'", false),
        ("wrapped='A' * 100000", false),
        ("wrapped='AAAA'", true),
        ("wrapped='AAAA', unknown=1", true),
    ] {
        let program = python(&format!("for request in requests(): answer(id=request['id'], {fields})"), TIME_LIMIT);
        let done = program.wrap(&KeyName::shared(1), Vec::new(), Vec::new()).await;
        if is_good {
            assert_eq!(done.unwrap(), [0; 3], "{fields}");
        } else {
            assert!(unavailable(done).contains("`wrapped`"), "{fields}");
        }
        for wrong in [
            unavailable(program.sign(&KeyName::shared(1), Vec::new()).await),
            unavailable(program.public_key(&KeyName::shared(1)).await),
            unavailable(program.newest_shared().await),
            unavailable(program.identity().await),
        ] {
            assert!(wrong.contains("without a correct field"), "{wrong}");
        }
    }
}

#[tokio::test]
async fn must_tell_the_errors_of_a_program_apart() {
    let program = python(
        "for request in requests(): answer(id=request['id'], error=request['name'][:-2], message='because')",
        TIME_LIMIT,
    );
    let ask = |text: &str| {
        let (program, name) = (&program, name(text));
        async move { program.public_key(&name).await.unwrap_err() }
    };
    assert_eq!(ask("missing-1").await, KeyError::Missing(name("missing-1")));
    assert!(matches!(ask("refused-1").await, KeyError::Refused(why) if why.contains("because")));
    assert!(matches!(ask("unavailable-1").await, KeyError::Unavailable(why) if why.contains("because")));
    assert!(matches!(ask("strange-1").await, KeyError::Unavailable(why) if why.contains("strange")));
}

#[tokio::test]
async fn must_go_on_wrapping_with_the_known_shared_key_while_the_newest_cannot_be_asked() {
    let program = python(
        "for number, request in enumerate(requests()):\n  \
           if request['op'] == 'wrap': answer(id=request['id'], wrapped='AAAA')\n  \
           elif number == 0: answer(id=request['id'], shared='shared-4')\n  \
           else: answer(id=request['id'], error='unavailable', message='throttled')",
        TIME_LIMIT,
    );
    let vault = Vault::new(Arc::new(program), 10);
    assert_eq!(vault.create("acme", false).await.unwrap().0.wrapping_key, KeyName::shared(4));
    tokio::time::sleep(tenancy_vault::SHARED_KEY_REFRESH).await;
    assert_eq!(vault.create("other", false).await.unwrap().0.wrapping_key, KeyName::shared(4));
    assert!(unavailable(vault.create("third", true).await).contains("throttled"));
}
