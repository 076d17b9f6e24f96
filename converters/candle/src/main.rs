//! GGUF -> GGUF, SafeTensors -> GGUF and GGUF -> SafeTensors by candle's codecs, reader and writers.
//!
//! What is quantised, and which metadata goes along, is as in candle's own `tensor-tools`: matrices whose rows are
//! whole blocks; all metadata of a GGUF file, as it stands; none for weights that come from SafeTensors.

use candle_core::quantized::{gguf_file, GgmlDType, QTensor};
use candle_core::{bail, safetensors, Device, Result, Tensor};
use std::{collections::BTreeMap, collections::HashMap, env, fs::File, path::Path, process::exit};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let (src, dst, kind) = match args.as_slice() {
        [src, dst] => (src, dst, ""),
        [src, dst, kind] => (src, dst, kind.as_str()),
        _ => {
            eprintln!("usage: candle-convert SRC DST [TYPE]");
            exit(2);
        }
    };
    if let Err(error) = convert(Path::new(src), Path::new(dst), kind) {
        eprintln!("error: {error}");
        exit(1);
    }
}

fn convert(src: &Path, dst: &Path, kind: &str) -> Result<()> {
    let wanted = parse_type(kind)?;
    let tensors = if is_safetensors(src) { load_safetensors(src, wanted) } else { load_gguf(src, wanted) };
    let (metadata, tensors) = tensors?;
    if is_safetensors(dst) {
        let values = tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.dequantize(&Device::Cpu)?)));
        return safetensors::save(&values.collect::<Result<HashMap<_, _>>>()?, dst);
    }
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(dst)?, &metadata, &tensors)
}

type Model = (BTreeMap<String, gguf_file::Value>, BTreeMap<String, QTensor>);

fn load_gguf(src: &Path, wanted: Option<GgmlDType>) -> Result<Model> {
    let mut file = File::open(src)?;
    let content = gguf_file::Content::read(&mut file)?;
    let mut tensors = BTreeMap::new();
    for name in content.tensor_infos.keys() {
        let tensor = content.tensor(&mut file, name, &Device::Cpu)?;
        let tensor = match wanted {
            Some(wanted) if fits(tensor.shape().dims(), wanted) => {
                QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, wanted)?
            }
            _ => tensor,
        };
        tensors.insert(name.clone(), tensor);
    }
    Ok((content.metadata.into_iter().collect(), tensors))
}

fn load_safetensors(src: &Path, wanted: Option<GgmlDType>) -> Result<Model> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in safetensors::load(src, &Device::Cpu)? {
        tensors.insert(name, quantize(&tensor, wanted)?);
    }
    Ok((BTreeMap::new(), tensors))
}

fn quantize(tensor: &Tensor, wanted: Option<GgmlDType>) -> Result<QTensor> {
    match wanted {
        Some(wanted) if fits(tensor.dims(), wanted) => QTensor::quantize(tensor, wanted),
        _ => QTensor::quantize(tensor, GgmlDType::F32),
    }
}

fn fits(shape: &[usize], wanted: GgmlDType) -> bool {
    shape.len() == 2 && shape[1] % wanted.block_size() == 0
}

fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "safetensors")
}

fn parse_type(name: &str) -> Result<Option<GgmlDType>> {
    Ok(Some(match name {
        "" => return Ok(None),
        "F32" => GgmlDType::F32,
        "F16" => GgmlDType::F16,
        "BF16" => GgmlDType::BF16,
        "Q4_0" => GgmlDType::Q4_0,
        "Q4_1" => GgmlDType::Q4_1,
        "Q5_0" => GgmlDType::Q5_0,
        "Q5_1" => GgmlDType::Q5_1,
        "Q8_0" => GgmlDType::Q8_0,
        "Q2_K" => GgmlDType::Q2K,
        "Q3_K" => GgmlDType::Q3K,
        "Q4_K" => GgmlDType::Q4K,
        "Q5_K" => GgmlDType::Q5K,
        "Q6_K" => GgmlDType::Q6K,
        _ => bail!("unknown type {name:?}"),
    }))
}
