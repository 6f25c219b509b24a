"""The grammar of studies: what varies, which combinations that makes, and which of them are left out."""
