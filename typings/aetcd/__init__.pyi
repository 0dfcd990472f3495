"""Only aetcd.rpc, the generated code, is used."""
