"""Opening of single sign-on tokens with the public key alone, by hand and by OpenSSL, without our code."""

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key


def opened(token: str, public_pem: str) -> dict[str, Any]:
    """Return the claims. Plain arithmetic: text = cipher^e mod n, with 00 01 FF … FF 00 in front of each block."""
    key: Any = load_pem_public_key(public_pem.encode())
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8
    text = b""
    for block in blocks_of(token, size):
        padded = pow(int.from_bytes(block, "big"), numbers.e, numbers.n).to_bytes(size, "big")
        head, _zero, part = padded[2:].partition(b"\0")
        assert padded[:2] == b"\0\1"
        assert len(head) >= 8
        assert set(head) == {0xFF}
        text += part
    return dict(json.loads(text))


def opened_by_openssl(token: str, public_pem: str, size: int) -> dict[str, Any]:
    """Return the claims by `openssl pkeyutl -verifyrecover`, which removes the padding itself."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "public.pem")
        key.write_text(public_pem)
        command = ["openssl", "pkeyutl", "-verifyrecover", "-pubin", "-inkey", str(key)]
        parts = [
            subprocess.run(
                [*command, "-pkeyopt", "rsa_padding_mode:pkcs1"], input=block, capture_output=True, check=True
            ).stdout
            for block in blocks_of(token, size)
        ]
    return dict(json.loads(b"".join(parts)))


def blocks_of(token: str, size: int) -> list[bytes]:
    encrypted = base64.b64decode(bytes.fromhex(token), validate=True)
    assert len(encrypted) % size == 0
    return [encrypted[start : start + size] for start in range(0, len(encrypted), size)]
