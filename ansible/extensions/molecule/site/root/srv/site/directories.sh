# Owner and mode of the system's own directories.
stat --format='%n %U %G %a' / /boot /dev /etc /etc/default /etc/ssl /etc/ssl/certs /etc/systemd /etc/systemd/system \
    /home /mnt /opt /proc /root /run /srv /sys /tmp /usr /usr/bin /usr/lib /usr/lib/systemd /usr/lib/systemd/system \
    /usr/lib/sysusers.d /usr/lib/tmpfiles.d /usr/local /usr/local/bin /usr/local/lib /usr/sbin /usr/share /var \
    /var/cache /var/lib /var/log /var/tmp
