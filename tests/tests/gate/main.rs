//! The request gate, as raw bytes on real sockets. How cases are written and judged: `splittoken_tests::gate`.

mod framing;
mod limits;
mod passed;
mod paths;
mod refused;

use splittoken_tests::gate::{Gate, report};
