//! The figures as a Markdown table.

use std::fs;

use splittoken_tests::wrk::exact;

use crate::{Peer, Round};

/// Prints a row for each peer; the first is what the others are compared with.
pub(crate) fn print(peers: &[Peer], plan: &str) {
    println!("{} CPUs ({}); {plan}.\n", cores(), processor());
    println!("| peer | CPU µs/request, proxy (+ Redis) | rounds | ÷ first | req/s | p50 / p99 µs |");
    println!("|---|---|---|---|---|---|");
    let first = peers
        .first()
        .map_or(1.0, |peer| median(&peer.rounds, |round| round.cpu));
    for peer in peers {
        let of = |figure: fn(&Round) -> f64| median(&peer.rounds, figure);
        let rounds: Vec<String> = peer
            .rounds
            .iter()
            .map(|round| format!("{:.1}", round.cpu))
            .collect();
        println!(
            "| {} | {:.1} (+{:.1}) | {} | {:.2} | {:.0} | {:.0} / {:.0} |",
            peer.name,
            of(|round| round.cpu),
            of(|round| round.redis),
            rounds.join(", "),
            of(|round| round.cpu) / first,
            of(|round| round.run.rate()),
            of(|round| exact(round.run.p50)),
            of(|round| exact(round.run.p99)),
        );
    }
}

fn median(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown processor", |name| {
        name.trim_start_matches([' ', '\t', ':'])
    })
    .to_owned()
}
