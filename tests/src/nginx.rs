//! nginx, as the plain proxy that everything is compared with, and as an upstream that costs as little as can be.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::Process;
use crate::{parts, ports, wait};

/// Some nginx processes that share one port.
#[derive(Debug)]
pub struct Nginx {
    processes: Vec<Process>,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Answers every request with these bytes. `workers` is the number of processes.
    pub fn answering(workers: usize, body: &str) -> Result<Self> {
        Self::start(
            workers,
            "",
            &format!("default_type text/plain; return 200 '{body}';"),
        )
    }

    /// Answers every request with the path that it makes of the target.
    pub fn reading_paths() -> Result<Self> {
        Self::start(1, "", "default_type text/plain; return 200 $uri;")
    }

    /// Passes every request on to `upstream`, over connections that are kept.
    pub fn proxy(workers: usize, upstream: SocketAddr) -> Result<Self> {
        let upstreams =
            format!("upstream api {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}");
        let location = "proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection '';";
        Self::start(workers, &upstreams, location)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The ids of its processes, to measure them by.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Processes of one worker each in place of a master with workers: workers would outlive a master that is killed.
    fn start(workers: usize, upstreams: &str, location: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut processes = Vec::new();
        for number in 0..workers {
            let home = folder.path().join(number.to_string());
            fs::create_dir_all(&home)?;
            let config = home.join("nginx.conf");
            fs::write(&config, configuration(address, upstreams, location))?;
            let mut command = Command::new(parts::path("SPLITTOKEN_NGINX")?);
            command
                .arg("-p")
                .arg(&home)
                .arg("-c")
                .arg(&config)
                .args(["-e", "stderr"]);
            let mut process = Process::start("nginx", &command)?;
            process.ready(wait::START, |_| TcpStream::connect(address).ok())?;
            processes.push(process);
        }
        Ok(Self {
            processes,
            address,
            _folder: folder,
        })
    }
}

fn configuration(address: SocketAddr, upstreams: &str, location: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {name};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nevents {{ worker_connections 4096; }}\nhttp {{\n{temporary}  \
         access_log off;\n  keepalive_requests 100000000;\n  keepalive_timeout 300s;\n  {upstreams}\n  \
         server {{ listen {address} reuseport; location / {{ {location} }} }}\n}}\n"
    )
}
