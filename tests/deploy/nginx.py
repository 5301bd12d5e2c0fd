"""nginx with the site of deploy/nginx, on free ports of this machine."""

import subprocess
from pathlib import Path

MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    include {folder}/conf.d/*.conf;
}}
"""


def configuration(
    root: Path,
    folder: Path,
    *,
    upstream: str,
    ports: tuple[int, int] = (80, 443),
    servers: dict[str, str] | None = None,
) -> Path:
    """Write nginx.conf and conf.d with our two files. Return the path of nginx.conf.

    `ports` replace 80 and 443. `servers` replace addresses of the upstream.
    """
    certificate = [*("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bi.example.com")]
    key, chain = folder / "site.key", folder / "site.pem"
    subprocess.run([*certificate, "-keyout", str(key), "-out", str(chain)], check=True, capture_output=True)
    site = (root / "deploy/nginx/guanwecom.conf").read_text(encoding="utf-8")
    site = site.replace("/etc/guanwecom/tls", str(folder)).replace("/var/log/nginx", str(folder))
    for old, new in zip((80, 443), ports, strict=True):
        site = site.replace(f"listen {old}", f"listen 127.0.0.1:{new}").replace(f"    listen [::]:{old};\n", "")
        site = site.replace(f"    listen [::]:{old} ssl;\n", "")
    addresses = (root / f"deploy/nginx/upstream-{upstream}.conf").read_text(encoding="utf-8")
    for old_address, new_address in (servers or {}).items():
        addresses = addresses.replace(old_address, new_address)
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "guanwecom.conf").write_text(site, encoding="utf-8")
    (folder / "conf.d" / "guanwecom-upstream.conf").write_text(addresses, encoding="utf-8")
    path = folder / "nginx.conf"
    path.write_text(MAIN.format(folder=folder), encoding="utf-8")
    return path
