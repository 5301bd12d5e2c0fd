#!/bin/sh
# Replaces the web containers of compose.yaml, one while the other serves: after docker compose build, or a change of .env.
# nginx sends nothing to a web before it is asked to end, so no request fails. Run it in the folder of compose.yaml.
set -eu

for number in 1 2; do
    address="172.31.250.1$number:8000"
    docker compose exec -T nginx sed -i "s/server $address;/server $address down;/" /etc/nginx/conf.d/guanwecom-upstream.conf
    docker compose exec -T nginx nginx -s reload
    # Workers of nginx that still have the old list finish connecting.
    sleep 2
    docker compose up --detach --no-deps --wait "web-$number"
    docker compose exec -T nginx sed -i "s/server $address down;/server $address;/" /etc/nginx/conf.d/guanwecom-upstream.conf
    docker compose exec -T nginx nginx -s reload
done
