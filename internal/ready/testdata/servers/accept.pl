# A blocking accept on descriptor 3, after a slow start.
open(my $gate, '<', $ENV{GATE}) or die "gate: $!";
1 while <$gate>;
open(my $listener, '+<&=', 3) or die "listener: $!";
while (accept(my $conn, $listener)) {
    sysread($conn, my $request, 4096);
    syswrite($conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nready");
    close($conn);
}
