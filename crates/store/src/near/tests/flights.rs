//! One read for all who wait for it.

use tokio::task::JoinSet;

use super::*;

/// 1,000 requests on four threads with a runtime each.
#[test]
fn a_thousand_waiters_make_one_read() {
    let bench = Arc::new(Bench::default());
    let (reads, gate) = (AtomicUsize::new(0), Semaphore::new(0));
    let ask = async || {
        let read = async || {
            reads.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            Ok(Some(bench.filled(1)))
        };
        let (key, ids) = (key(&bench.near, 1), [id(1)]);
        bench.near.fill(key, realm(), &ids, read).await
    };
    let waiting = || {
        let book = bench.near.book.lock();
        book.flight(&key(&bench.near, 1))
            .map_or(0, |flight| flight.waiting())
    };
    let worker = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let all: Vec<_> = (0..250).map(|_| Box::pin(ask())).collect();
            for answer in all_of(all).await {
                assert_eq!(answer, Ok(Some(1)));
            }
        });
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(worker);
        }
        let begun = Instant::now();
        while waiting() < 1000 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} wait", waiting());
            thread::yield_now();
        }
        gate.add_permits(1);
    });
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

/// Polls all of them to the end.
async fn all_of<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs = Vec::new();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| match std::pin::Pin::new(future).poll(context) {
            std::task::Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if futures.is_empty() {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
    outputs
}

#[tokio::test]
async fn a_leader_that_gives_up_strands_nobody() {
    let (bench, reads, gate) = (Arc::default(), Arc::default(), Arc::new(Semaphore::new(0)));
    let mut tasks = crowd(&bench, 10, &reads, &gate).await;
    for expected in 2..=4 {
        // The first of them leads: tasks of one runtime begin in order.
        tasks.remove(0).abort();
        until(|| reads.load(Ordering::SeqCst) == expected).await;
    }
    gate.add_permits(1);
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(Some(1)));
    }
    assert_eq!(reads.load(Ordering::SeqCst), 4);
    assert_eq!(bench.book(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn when_all_give_up_nothing_is_left() {
    let (bench, reads, gate): (Arc<Bench>, _, _) =
        (Arc::default(), Arc::default(), Arc::new(Semaphore::new(0)));
    let tasks = crowd(&bench, 10, &reads, &gate).await;
    assert_eq!(bench.book(), [0, 1, 1, 1]);
    for task in tasks {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!(bench.book(), [0; 4]);
    bench.put(1).await;
}

#[tokio::test]
async fn an_error_is_everybody_s() {
    let bench: Arc<Bench> = Arc::default();
    let gate = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let (bench, gate) = (bench.clone(), gate.clone());
        tasks.spawn(async move {
            let read = async || {
                gate.acquire().await.unwrap().forget();
                Err::<Option<Filled<u64>>, _>(Failure::Store)
            };
            bench
                .near
                .fill(key(&bench.near, 1), realm(), &[id(1)], read)
                .await
        });
    }
    yield_now().await;
    gate.add_permits(1);
    for answer in tasks.join_all().await {
        assert_eq!(answer, Err(Failure::Store));
    }
}

#[tokio::test]
async fn a_realm_has_so_many_reads_and_others_have_theirs() {
    let bench = Bench::new(NearConfig {
        fills_per_realm: 2,
        ..NearConfig::default()
    });
    let never = || std::future::pending::<Found>();
    let other = Realm::of("SplitTokenIssuer", "ns", "other");
    let (keys, ids) = (
        [1, 2, 3, 4].map(|name| key(&bench.near, name)),
        [1, 2, 3, 4].map(|name| [id(name)]),
    );
    let mut first = Box::pin(bench.near.fill(keys[0], realm(), &ids[0], never));
    let mut second = Box::pin(bench.near.fill(keys[1], realm(), &ids[1], never));
    let mut third = Box::pin(bench.near.fill(keys[2], realm(), &ids[2], never));
    let mut joins = Box::pin(bench.near.fill(keys[0], realm(), &ids[0], never));
    let mut foreign = Box::pin(bench.near.fill(keys[3], other, &ids[3], never));
    assert!(poll_once(&mut first).await.is_none());
    assert!(poll_once(&mut second).await.is_none());
    assert_eq!(poll_once(&mut third).await, Some(Err(Failure::Overloaded)));
    assert!(poll_once(&mut joins).await.is_none());
    assert!(poll_once(&mut foreign).await.is_none());
    drop(second);
    assert_eq!(bench.book()[2..], [2, 2]);
    bench.put(2).await;
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn a_fill_may_move_between_threads() {
    fn is_send(_: impl Send) {}
    let bench = Bench::default();
    let read = || std::future::ready(Ok(None));
    is_send(bench.near.fill(key(&bench.near, 1), realm(), &[], read));
}
