//! The real reader and writer of APR v2 (crate `apr-format`) behind a command line.
//!
//!     apr-oracle dump FILE            what AprV2Reader makes of it, as JSON on standard output
//!     apr-oracle write SPEC.json OUT  what AprV2Writer makes of {"metadata": {...}, "flags": 1024, "tensors":
//!                                     [{"name", "dtype", "shape", "hex"}]}
//!     apr-oracle stream SPEC.json OUT the same through AprV2StreamingWriter
//!
//! Exit 1 and the reader's own words on standard error where it refuses.

use apr_format::v2::{required_file_len, AprV2Flags, AprV2Metadata, AprV2Reader, AprV2StreamingWriter, AprV2Writer, TensorDType};
use serde_json::{json, Value};
use std::process::ExitCode;

type Any = Box<dyn std::error::Error>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, Any> {
    (0..text.len()).step_by(2).map(|i| Ok(u8::from_str_radix(&text[i..i + 2], 16)?)).collect()
}

fn dump(path: &str) -> Result<(), Any> {
    let data = std::fs::read(path)?;
    let reader = AprV2Reader::from_bytes(&data).map_err(|e| e.to_string())?;
    let header = reader.header();
    let tensors: Vec<Value> = reader
        .tensor_index()
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "dtype": entry.dtype as u8,
                "type": entry.dtype.name(),
                "shape": entry.shape,
                "offset": entry.offset,
                "size": entry.size,
                "hex": reader.get_tensor_data(&entry.name).map(hex),
                "found": reader.get_tensor(&entry.name).is_some(),
            })
        })
        .collect();
    let made = json!({
        "flags": header.flags.bits(),
        "tensor_count": header.tensor_count,
        "metadata_size": header.metadata_size,
        "index_offset": header.tensor_index_offset,
        "data_offset": header.data_offset,
        "checksum_ok": header.verify_checksum(),
        "aligned": reader.verify_alignment(),
        "file_size": data.len(),
        "required": required_file_len(&data).map_err(|e| e.to_string())?,
        "metadata": serde_json::from_slice::<Value>(&reader.metadata().to_json().map_err(|e| e.to_string())?)?,
        "tensors": tensors,
    });
    println!("{made}");
    Ok(())
}

struct Given {
    name: String,
    dtype: TensorDType,
    shape: Vec<usize>,
    data: Vec<u8>,
}

fn given(tensor: &Value) -> Result<Given, Any> {
    let code = u8::try_from(tensor["dtype"].as_u64().ok_or("dtype")?)?;
    Ok(Given {
        name: tensor["name"].as_str().ok_or("name")?.to_string(),
        dtype: TensorDType::from_u8(code).ok_or("unknown dtype")?,
        shape: serde_json::from_value(tensor["shape"].clone())?,
        data: unhex(tensor["hex"].as_str().ok_or("hex")?)?,
    })
}

fn write(spec: &str, out: &str, streaming: bool) -> Result<(), Any> {
    let spec: Value = serde_json::from_slice(&std::fs::read(spec)?)?;
    let metadata = AprV2Metadata::from_json(spec["metadata"].to_string().as_bytes()).map_err(|e| e.to_string())?;
    let tensors = spec["tensors"].as_array().ok_or("tensors")?;
    if streaming {
        let mut writer = AprV2StreamingWriter::new(metadata).map_err(|e| e.to_string())?;
        for tensor in tensors {
            let t = given(tensor)?;
            writer.add_tensor(t.name, t.dtype, t.shape, &t.data).map_err(|e| e.to_string())?;
        }
        writer.finalize(std::path::Path::new(out)).map_err(|e| e.to_string())?;
        return Ok(());
    }
    let mut writer = AprV2Writer::new(metadata);
    if let Some(flags) = spec["flags"].as_u64() {
        writer.set_header_flags(AprV2Flags::from_bits(u16::try_from(flags)?));
    }
    for tensor in tensors {
        let t = given(tensor)?;
        writer.add_tensor(t.name, t.dtype, t.shape, t.data);
    }
    std::fs::write(out, writer.write().map_err(|e| e.to_string())?)?;
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["dump", path] => dump(path),
        ["write", spec, out] => write(spec, out, false),
        ["stream", spec, out] => write(spec, out, true),
        _ => Err("usage: apr-oracle dump FILE | write SPEC OUT | stream SPEC OUT".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
