# All that is in the file system, but for what Ansible, apt, dpkg, systemd and running programs keep for themselves.
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /srv \
    -o -path /opt/site -o -path /root/.ansible -o -path /var/log/journal -o -path /var/log/apt -o -path /var/cache/apt \
    -o -path /var/cache/debconf -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd \
    -o -path /var/lib/private -o -path /var/cache/private -o -name __pycache__ \) -prune -o -print | sort
